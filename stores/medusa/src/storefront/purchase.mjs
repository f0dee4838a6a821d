/** From a filled-in form to an order, by the Store API. */

import { FIELDS } from "./checkout.mjs"
import { Refused } from "./shop.mjs"

export const CASH_ON_DELIVERY = "pp_system_default"
const EMAIL = /^[^\s@]+@[^\s@]+\.[^\s@.]{2,}$/

/**
 * @param {Record<string, string>} values
 * @param {{ countries: Record<string, any>[], deliveries: Record<string, any>[] }} offered
 * @returns {Record<string, string>} what is wrong, by field
 */
export function problemsOf(values, { countries, deliveries }) {
  /** @type {Record<string, string>} */
  const problems = {}
  for (const { name, label, required, max } of FIELDS) {
    const value = values[name] ?? ""
    if (required && !value) problems[name] = `${label} is missing.`
    else if (value.length > max) problems[name] = `At most ${max} characters.`
  }
  if (!problems.email && !EMAIL.test(values.email)) problems.email = "This is not an e-mail address: name@example.com."
  if (!countries.some((each) => each.iso_2 === values.country_code)) problems.country_code = "Choose a country."
  if (!deliveries.some((each) => each.id === values.delivery)) problems.delivery = "Choose how it is delivered."
  return problems
}

/**
 * @param {import("./shop.mjs").Shop} shop
 * @param {Record<string, any>} cart
 * @param {Record<string, string>} values
 * @returns {Promise<string>} the order's id
 */
export async function buy(shop, cart, values) {
  const path = `/store/carts/${cart.id}`
  const { email, delivery, first_name, last_name, address_1, address_2, postal_code, city, phone, country_code } = values
  const address = { first_name, last_name, address_1, address_2, postal_code, city, phone, country_code }
  await shop.post(path, { email, shipping_address: address, billing_address: address })
  await shop.post(`${path}/shipping-methods`, { option_id: delivery })
  const collection =
    cart.payment_collection ?? (await shop.post("/store/payment-collections", { cart_id: cart.id })).payment_collection
  await shop.post(`/store/payment-collections/${collection.id}/payment-sessions`, { provider_id: CASH_ON_DELIVERY })
  return complete(shop, cart.id)
}

/** Twice gives the same order. @param {import("./shop.mjs").Shop} shop @param {string} cart */
export async function complete(shop, cart) {
  const answer = await shop.post(`/store/carts/${cart}/complete`)
  if (answer.type !== "order") throw new Refused(409, answer.error?.message ?? "The order could not be placed.")
  return answer.order.id
}
