/** Quantities that customers enter, and Medusa's objections to them. */

import { RequestRejected } from "./store-api.mjs"

const QUANTITY_MAX = 99

/** @param {string | undefined} text */
export function parseQuantity(text) {
  const value = Number(text ?? "1")
  if (!Number.isInteger(value) || value < 1) {
    throw new RequestRejected(422, "Enter the quantity as a whole number from 1.")
  }
  if (value > QUANTITY_MAX) {
    throw new RequestRejected(422, `The quantity is limited to ${QUANTITY_MAX} per item.`)
  }
  return value
}

/** Replace Medusa's messages by ones for customers. @param {RequestRejected} error */
export function describeRejection(error) {
  if (/do not exist or belong to a product/i.test(error.message)) {
    return "A product in your cart is no longer sold. Remove it from the cart."
  }
  if (/inventory|stock/i.test(error.message)) {
    return "There are not enough items in stock. Choose a smaller quantity or another product."
  }
  if (error.status >= 500 || /unknown error/i.test(error.message)) {
    return "The shop could not process this. Nothing was ordered. Please try again."
  }
  return error.message
}
