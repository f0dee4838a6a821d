/** Validate the checkout form and place the order through the Store API. */

import { CHECKOUT_FIELDS } from "./checkout.mjs"
import { RequestRejected } from "./store-api.mjs"

export const CASH_ON_DELIVERY = "pp_system_default"
const EMAIL = /^[^\s@]+@[^\s@]+\.[^\s@.]{2,}$/

/**
 * Validate the fields of the checkout form.
 *
 * @param {Record<string, string>} values
 * @param {{ countries: Record<string, any>[], deliveries: Record<string, any>[] }} offered
 * @returns {Record<string, string>} the problem of each invalid field
 */
export function validateCheckout(values, { countries, deliveries }) {
  /** @type {Record<string, string>} */
  const problems = {}
  for (const { name, label, required, max } of CHECKOUT_FIELDS) {
    const value = values[name] ?? ""
    if (required && !value) problems[name] = `${label} is missing.`
    else if (value.length > max) problems[name] = `At most ${max} characters.`
  }
  if (!problems.email && !EMAIL.test(values.email)) {
    problems.email = "Enter an e-mail address such as name@example.com."
  }
  if (!countries.some((each) => each.iso_2 === values.country_code)) {
    problems.country_code = "Choose a country."
  }
  if (!deliveries.some((each) => each.id === values.delivery)) {
    problems.delivery = "Choose a delivery method."
  }
  return problems
}

/**
 * Place the order.
 *
 * @param {import("./store-api.mjs").StoreApiClient} client
 * @param {Record<string, any>} cart
 * @param {Record<string, string>} values
 * @returns {Promise<string>} the order's id
 */
export async function placeOrder(client, cart, values) {
  const path = `/store/carts/${cart.id}`
  const { email, delivery } = values
  const { first_name, last_name, address_1, address_2, postal_code, city, phone, country_code } =
    values
  const address = {
    first_name,
    last_name,
    address_1,
    address_2,
    postal_code,
    city,
    phone,
    country_code,
  }
  await client.post(path, { email, shipping_address: address, billing_address: address })
  await client.post(`${path}/shipping-methods`, { option_id: delivery })
  const collection =
    cart.payment_collection ??
    (await client.post("/store/payment-collections", { cart_id: cart.id })).payment_collection
  await client.post(`/store/payment-collections/${collection.id}/payment-sessions`, {
    provider_id: CASH_ON_DELIVERY,
  })
  return completeCart(client, cart.id)
}

/**
 * Complete the cart; repeated calls return the same order.
 *
 * @param {import("./store-api.mjs").StoreApiClient} client
 * @param {string} cart
 */
export async function completeCart(client, cart) {
  const answer = await client.post(`/store/carts/${cart}/complete`)
  if (answer.type !== "order") {
    const message = answer.error?.message ?? "The order was not placed. Please try again."
    throw new RequestRejected(409, message)
  }
  return answer.order.id
}
