/** Pages of a purchase: cart, checkout, the order. */

import { html, money } from "./html.mjs"

/** @typedef {Record<string, any>} Any */

const named = (/** @type {Any} */ item) =>
  html`<span class="name">${item.product_title ?? item.title}</span>${item.variant_title && item.variant_title !== "Standard" ? html`<span class="soft">${item.variant_title}</span>` : ""}`

const picture = (/** @type {Any} */ item) =>
  item.thumbnail ? html`<img src="${item.thumbnail}" alt="" width="96" height="96" loading="lazy">` : ""

/** @param {Any | null} cart @param {{ problem?: string }} [state] */
export function cartPage(cart, { problem = "" } = {}) {
  if (!cart?.items?.length) {
    return html`<section class="hero"><h1>Your cart</h1></section>
${problem ? html`<p class="problem" role="alert">${problem}</p>` : ""}
<p class="note">It is empty. <a href="/">See the goods</a>.</p>`
  }
  const currency = cart.currency_code
  return html`<section class="hero"><h1>Your cart</h1></section>
${problem ? html`<p class="problem" role="alert">${problem}</p>` : ""}
<div class="split">
<ul class="lines">
${[...cart.items].sort(byTime).map(
  (item) => html`<li class="line">
  <a class="thumb" href="/products/${encodeURIComponent(item.product_handle ?? "")}" tabindex="-1" aria-hidden="true">${picture(item)}</a>
  <div class="what"><a href="/products/${encodeURIComponent(item.product_handle ?? "")}">${named(item)}</a><span class="soft">${money(item.unit_price, currency)} each</span></div>
  <form method="post" action="/cart/items" class="amount">
    <input type="hidden" name="item" value="${item.id}">
    <label class="hidden" for="q-${item.id}">Quantity of ${item.product_title}</label>
    <input id="q-${item.id}" name="quantity" type="number" inputmode="numeric" min="1" max="99" value="${item.quantity}" required>
    <button class="quiet">Update</button>
    <button class="quiet" name="remove" value="1" formnovalidate>Remove<span class="hidden"> ${item.product_title}</span></button>
  </form>
  <span class="price">${money(item.unit_price * item.quantity, currency)}</span>
</li>`,
)}
</ul>
<aside class="sum"><h2>Total</h2>
${sums([["Goods", money(cart.item_subtotal ?? cart.subtotal, currency)], ["Delivery", "at checkout"]])}
<a class="button" href="/checkout">Go to checkout</a></aside>
</div>`
}

const byTime = (/** @type {Any} */ a, /** @type {Any} */ b) => String(a.created_at).localeCompare(String(b.created_at))

const sums = (/** @type {[string, string][]} */ rows) =>
  html`<dl class="sums">${rows.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`

/** What is asked for; a name of `autocomplete` lets browsers fill it in. */
export const FIELDS = [
  { name: "email", label: "E-mail", type: "email", autocomplete: "email", required: true, max: 254, wide: true },
  { name: "first_name", label: "First name", autocomplete: "given-name", required: true, max: 80 },
  { name: "last_name", label: "Last name", autocomplete: "family-name", required: true, max: 80 },
  { name: "address_1", label: "Street and number", autocomplete: "address-line1", required: true, max: 120, wide: true },
  { name: "address_2", label: "Flat, floor, company (optional)", autocomplete: "address-line2", max: 120, wide: true },
  { name: "postal_code", label: "Postal code", autocomplete: "postal-code", required: true, max: 20 },
  { name: "city", label: "City", autocomplete: "address-level2", required: true, max: 80 },
  { name: "phone", label: "Telephone (optional)", type: "tel", autocomplete: "tel", max: 40 },
]

/**
 * @param {{ cart: Any, deliveries: Any[], countries: Any[], values: Record<string, string>, problems: Record<string, string> }} state
 */
export function checkoutPage({ cart, deliveries, countries, values, problems }) {
  const currency = cart.currency_code
  const chosen = values.delivery || deliveries[0]?.id
  const general = problems[""]
  const goods = Number(cart.item_subtotal ?? cart.subtotal)
  return html`<section class="hero"><h1>Checkout</h1></section>
${general ? html`<p class="problem" role="alert">${general}</p>` : ""}
${Object.keys(problems).length && !general ? html`<p class="problem" role="alert">Please look at the marked fields again.</p>` : ""}
<form method="post" action="/checkout" class="split">
<div class="steps">
  <fieldset class="step"><legend>Where to</legend><div class="fields">
    ${FIELDS.map((field) => input(field, values[field.name] ?? "", problems[field.name]))}
    <div class="field"><label for="country_code">Country</label>
      <select id="country_code" name="country_code" autocomplete="country" required>
      ${countries.map((country) => html`<option value="${country.iso_2}" ${country.iso_2 === values.country_code ? html`selected` : ""}>${country.display_name}</option>`)}
      </select></div>
  </div></fieldset>
  <fieldset class="step"><legend>Delivery</legend>
    ${problems.delivery ? html`<p class="problem">${problems.delivery}</p>` : ""}
    ${deliveries.map(
      (each) => html`<label class="choice"><input type="radio" name="delivery" value="${each.id}" required ${each.id === chosen ? html`checked` : ""}>
      <span>${each.name} <span class="soft">${each.type?.description}</span></span><span class="price">${money(each.amount, currency)}</span></label>`,
    )}
  </fieldset>
  <fieldset class="step"><legend>Payment</legend>
    <label class="choice"><input type="radio" name="payment" value="cod" checked required><span>Cash on delivery <span class="soft">Pay when it arrives.</span></span></label>
  </fieldset>
</div>
<aside class="sum"><h2>Your order</h2>
<ul class="brief">${cart.items.map((/** @type {Any} */ item) => html`<li><span>${item.quantity} × ${named(item)}</span><span>${money(item.unit_price * item.quantity, currency)}</span></li>`)}</ul>
${sums([["Goods", money(goods, currency)], ...deliveries.map((each) => total(each, goods, currency))])}
<button>Place order</button>
<p class="soft small">You pay in cash when it is delivered.</p></aside>
</form>`
}

/** Without a script the page cannot know what will be chosen: it says what each comes to. */
function total(/** @type {Any} */ delivery, /** @type {number} */ goods, /** @type {string} */ currency) {
  return /** @type {[string, string]} */ ([`With ${delivery.name.toLowerCase()}`, money(goods + Number(delivery.amount), currency)])
}

function input(/** @type {Any} */ field, /** @type {string} */ value, /** @type {string | undefined} */ problem) {
  const { name, label, type = "text", autocomplete, required, max, wide } = field
  return html`<div class="field${wide ? " wide-field" : ""}"><label for="${name}">${label}</label>
<input id="${name}" name="${name}" type="${type}" value="${value}" autocomplete="${autocomplete}" maxlength="${max}" ${required ? html`required` : ""} ${problem ? html`aria-invalid="true" aria-describedby="${name}-problem"` : ""}>
${problem ? html`<span class="wrong" id="${name}-problem">${problem}</span>` : ""}</div>`
}

/** @param {Any} order @param {Any[]} countries */
export function orderPage(order, countries) {
  const currency = order.currency_code
  const address = order.shipping_address ?? {}
  const country = countries.find((each) => each.iso_2 === address.country_code)?.display_name ?? address.country_code
  return html`<section class="hero"><h1>Thank you, ${address.first_name || "and welcome"}!</h1>
<p>Your order number is <strong class="number">${order.display_id}</strong>. A summary is kept on this page.</p></section>
<div class="split">
<section><h2>What you ordered</h2>
<ul class="lines">${order.items.map((/** @type {Any} */ item) => html`<li class="line"><span class="thumb">${picture(item)}</span><div class="what">${named(item)}<span class="soft">${item.quantity} × ${money(item.unit_price, currency)}</span></div><span class="price">${money(item.unit_price * item.quantity, currency)}</span></li>`)}</ul>
${sums([
  ["Goods", money(order.item_subtotal ?? order.item_total, currency)],
  ["Delivery", money(order.shipping_total, currency)],
  ...(Number(order.tax_total) ? [/** @type {[string, string]} */ (["Tax", money(order.tax_total, currency)])] : []),
  ["Total", money(order.total, currency)],
])}</section>
<aside class="sum"><h2>Delivery</h2>
<p>${order.shipping_methods?.[0]?.name}</p>
<address>${[`${address.first_name ?? ""} ${address.last_name ?? ""}`, address.address_1, address.address_2, `${address.postal_code ?? ""} ${address.city ?? ""}`, country].filter((line) => line?.trim()).map((line) => html`${line}<br>`)}</address>
<h2>Payment</h2><p>Cash on delivery: please have ${money(order.total, currency)} ready.</p>
<a class="button quiet" href="/">Back to the shop</a></aside>
</div>`
}
