/** Validate the checkout form and place the order through the Store API. */

import { lacksCity, needsPostalCode } from "./addresses.mjs"
import { CHECKOUT_FIELDS } from "./checkout.mjs"
import { formatMoney } from "./html.mjs"
import { RequestRejected } from "./store-api.mjs"

export const CASH_ON_DELIVERY = "pp_system_default"
/** Totals are compared as amounts of money: less than half of the smallest unit is no difference. */
const TOLERANCE = 0.0005
const EMAIL = /^[^\s@]+@[^\s@]+\.[^\s@.]{2,}$/

/** The total is not the one that the customer confirmed; the form is shown with the new one. */
export class PriceChanged extends RequestRejected {
  /** @param {Record<string, any>} cart with the new total */
  constructor(cart) {
    const total = formatMoney(cart.total, cart.currency_code)
    super(422, `The total is now ${total}. Check your order and place it if you agree.`)
    this.cart = cart
  }
}

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
  if (needsPostalCode(values.country_code) && !values.postal_code) {
    problems.postal_code = "Postal code is missing."
  }
  if (lacksCity(values)) problems.city = "City is missing."
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

const ADDRESS_FIELDS = [
  ...["first_name", "last_name", "address_1", "address_2", "postal_code", "city", "province"],
  ...["phone", "country_code"],
]

/**
 * Place the order, if it costs what the form said.
 *
 * @param {import("./store-api.mjs").StoreApiClient} client
 * @param {Record<string, any>} cart
 * @param {Record<string, string>} values
 * @returns {Promise<string>} the order's id
 */
export async function placeOrder(client, cart, values) {
  const path = `/store/carts/${cart.id}`
  const { email, delivery } = values
  const address = Object.fromEntries(ADDRESS_FIELDS.map((name) => [name, values[name] ?? ""]))
  await client.post(path, { email, shipping_address: address, billing_address: address })
  await client.post(`${path}/shipping-methods`, { option_id: delivery })
  await checkPrice(client, cart.id, values)
  const collection =
    cart.payment_collection ??
    (await client.post("/store/payment-collections", { cart_id: cart.id })).payment_collection
  await client.post(`/store/payment-collections/${collection.id}/payment-sessions`, {
    provider_id: CASH_ON_DELIVERY,
  })
  return completeCart(client, cart.id)
}

/**
 * Compare the cart's total, which now has the address's taxes and the current prices, with the one
 * that the form showed for the chosen delivery method.
 *
 * @param {import("./store-api.mjs").StoreApiClient} client
 * @param {string} id
 * @param {Record<string, string>} values
 */
async function checkPrice(client, id, values) {
  const confirmed = values[`total-${values.delivery}`]
  if (confirmed === undefined) return // not sent by our form
  const cart = await client.getCart(id)
  if (!cart) throw new RequestRejected(404, "Your cart no longer exists.")
  if (!(Math.abs(Number(cart.total) - Number(confirmed)) < TOLERANCE)) throw new PriceChanged(cart)
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
