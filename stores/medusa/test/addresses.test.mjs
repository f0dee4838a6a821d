import assert from "node:assert/strict"
import { test } from "node:test"
import {
  formatAddress,
  getCountryName,
  lacksCity,
  needsPostalCode,
} from "../src/storefront/addresses.mjs"
import { validateCheckout } from "../src/storefront/purchase.mjs"

const PERSON = { first_name: "Zoë", last_name: "Guest", address_1: "1 Main Street" }

test("postal codes are required only where countries have them", () => {
  const without = ["hk", "ae", "ie", "pa", "jm"].filter((country) => !needsPostalCode(country))
  assert.deepEqual(without, ["hk", "ae", "ie", "pa", "jm"])
  for (const country of ["us", "de", "gb", "jp", "br", "in", "nz"])
    assert.ok(needsPostalCode(country))
})

test("a place is required: a city, or a province in countries whose places are provinces", () => {
  assert.ok(lacksCity({ country_code: "de" }))
  assert.ok(lacksCity({ country_code: "de", province: "Saxony" }))
  assert.ok(lacksCity({ country_code: "ae" }))
  assert.ok(!lacksCity({ country_code: "ae", province: "Dubai" }))
  assert.ok(!lacksCity({ country_code: "ae", city: "Dubai" }))
  assert.ok(!lacksCity({ country_code: "sg" }))
})

test("addresses are written in their country's lines and lose no field", () => {
  const lines = (country_code, fields) =>
    formatAddress({ ...PERSON, country_code, ...fields }).slice(1)
  const us = { city: "Springfield", province: "IL", postal_code: "62701" }
  assert.deepEqual(lines("us", us), ["1 Main Street", "Springfield, IL 62701"])
  assert.deepEqual(lines("us", { ...us, province: "" }), ["1 Main Street", "Springfield, 62701"])
  assert.deepEqual(lines("de", { city: "Leipzig", postal_code: "04109" }), [
    "1 Main Street",
    "04109 Leipzig",
  ])
  assert.deepEqual(lines("gb", { city: "London", postal_code: "SW1A 1AA" }), [
    "1 Main Street",
    "London",
    "SW1A 1AA",
  ])
  assert.deepEqual(
    lines("hk", { city: "Mong Kok", province: "Kowloon", postal_code: "-" }).length,
    3,
  )
  assert.ok(lines("jp", { city: "Chiyoda-ku", province: "Tokyo" }).join().includes("Chiyoda-ku"))
  assert.deepEqual(formatAddress({}), [])
  assert.equal(getCountryName("hk"), "Hong Kong SAR China")
})

test("a checkout for Hong Kong needs no postal code, one for Germany does", () => {
  const offered = { countries: [{ iso_2: "hk" }, { iso_2: "de" }], deliveries: [{ id: "so_1" }] }
  const form = { ...PERSON, email: "z@example.com", delivery: "so_1", city: "X" }
  assert.deepEqual(validateCheckout({ ...form, country_code: "hk" }, offered), {})
  assert.deepEqual(Object.keys(validateCheckout({ ...form, country_code: "de" }, offered)), [
    "postal_code",
  ])
})
