/** Render the confirmation of an order. It promises no e-mail: the store sends none. */

import { formatAddress, getCountryName } from "./addresses.mjs"
import { renderItemName, renderPicture, renderTotals } from "./checkout.mjs"
import { formatMoney, html } from "./html.mjs"

/** @typedef {Record<string, any>} Any */

/** @param {Any} order */
export function renderOrderPage(order) {
  const currency = order.currency_code
  const address = order.shipping_address ?? {}
  const thanks = address.first_name ? `Thank you, ${address.first_name}!` : "Thank you!"
  return html`<section class="hero"><h1>${thanks}</h1>
<p>Your order number is <strong class="number">${order.display_id}</strong>.
You can return to this page at any time.</p></section>
<div class="split">
<section><h2>Your order</h2>
<ul class="lines">${order.items.map((/** @type {Any} */ item) => renderOrderItem(item, currency))}</ul>
${renderTotals([
  ["Products", formatMoney(order.item_subtotal ?? order.item_total, currency)],
  ["Delivery", formatMoney(order.shipping_subtotal ?? order.shipping_total, currency)],
  ...listAdjustments(order),
  ["Total", formatMoney(order.total, currency)],
])}</section>
<aside class="sum"><h2>Delivery</h2>
<p>${order.shipping_methods?.[0]?.name}</p>
${renderAddress(address)}
<h2>Payment</h2><p>Cash on delivery: please have ${formatMoney(order.total, currency)} ready.</p>
<a class="button quiet" href="/">Back to the shop</a></aside>
</div>`
}

/**
 * List discount and tax of a cart or order, if any. The other rows are without tax.
 *
 * @param {Any} sums @returns {[string, string][]}
 */
export function listAdjustments({ discount_subtotal, discount_total, tax_total, currency_code }) {
  const discount = Number(discount_subtotal ?? discount_total)
  /** @type {[string, string][]} */
  const rows = []
  if (discount) rows.push(["Discount", formatMoney(-discount, currency_code)])
  if (Number(tax_total)) rows.push(["Tax", formatMoney(tax_total, currency_code)])
  return rows
}

/** @param {Any} item @param {string} currency */
const renderOrderItem = (item, currency) => html`<li class="line">
<span class="thumb">${renderPicture(item)}</span>
<div class="what">${renderItemName(item)}
<span class="soft">${item.quantity} × ${formatMoney(item.unit_price, currency)}</span></div>
<span class="price">${formatMoney(item.unit_price * item.quantity, currency)}</span></li>`

/** @param {Any} address */
function renderAddress(address) {
  const lines = formatAddress(address)
  if (address.country_code) lines.push(getCountryName(address.country_code))
  return html`<address>${lines.map((line) => html`${line}<br>`)}</address>`
}
