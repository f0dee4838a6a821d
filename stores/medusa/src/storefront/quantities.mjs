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

/** Replace Medusa's message about stock by one for customers. @param {RequestRejected} error */
export function describeRejection(error) {
  if (/inventory|stock/i.test(error.message)) {
    return "There are not enough items in stock. Choose a smaller quantity or another product."
  }
  return error.message
}
