/** Render the pages of a purchase: cart, checkout form and order. */

import { html, formatMoney } from "./html.mjs"

/** @typedef {Record<string, any>} Any */

const renderNotice = (/** @type {string | undefined} */ problem) =>
  problem ? html`<p class="problem" role="alert">${problem}</p>` : ""

/** Render a product's name, and its variant unless there is only the standard one. */
function renderItemName(/** @type {Any} */ item) {
  const variant = item.variant_title === "Standard" ? "" : item.variant_title
  return html`<span class="name">${item.product_title ?? item.title}</span>
${variant ? html`<span class="soft">${variant}</span>` : ""}`
}

const renderPicture = (/** @type {Any} */ item) =>
  item.thumbnail
    ? html`<img src="${item.thumbnail}" alt="" width="96" height="96" loading="lazy">`
    : ""

const productUrl = (/** @type {Any} */ item) =>
  `/products/${encodeURIComponent(item.product_handle ?? "")}`

/** Render the cart. @param {Any | null} cart @param {{ problem?: string }} [state] */
export function renderCartPage(cart, { problem = "" } = {}) {
  if (!cart?.items?.length) {
    return html`<section class="hero"><h1>Your cart</h1></section>
${renderNotice(problem)}
<p class="note">Your cart is empty. <a href="/">See all products</a>.</p>`
  }
  const currency = cart.currency_code
  return html`<section class="hero"><h1>Your cart</h1></section>
${renderNotice(problem)}
<div class="split">
<ul class="lines">
${[...cart.items].sort(compareByTime).map(
  (item) => html`<li class="line">
  <a class="thumb" href="${productUrl(item)}" tabindex="-1" aria-hidden="true">${renderPicture(item)}</a>
  <div class="what"><a href="${productUrl(item)}">${renderItemName(item)}</a>
    <span class="soft">${formatMoney(item.unit_price, currency)} each</span></div>
  <form method="post" action="/cart/items" class="amount">
    <input type="hidden" name="item" value="${item.id}">
    <label class="hidden" for="q-${item.id}">Quantity of ${item.product_title}</label>
    <input id="q-${item.id}" name="quantity" type="number" inputmode="numeric" min="1" max="99"
      value="${item.quantity}" required>
    <button class="quiet">Update</button>
    <button class="quiet" name="remove" value="1" formnovalidate>Remove
      <span class="hidden">${item.product_title}</span></button>
  </form>
  <span class="price">${formatMoney(item.unit_price * item.quantity, currency)}</span>
</li>`,
)}
</ul>
<aside class="sum"><h2>Total</h2>
${renderTotals([
  ["Products", formatMoney(cart.item_subtotal ?? cart.subtotal, currency)],
  ["Delivery", "at checkout"],
])}
<a class="button" href="/checkout">Go to checkout</a></aside>
</div>`
}

const compareByTime = (/** @type {Any} */ a, /** @type {Any} */ b) =>
  String(a.created_at).localeCompare(String(b.created_at))

const renderTotals = (/** @type {[string, string][]} */ rows) =>
  html`<dl class="sums">${rows.map(
    ([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`,
  )}</dl>`

/** The fields of the checkout form; browsers fill them in by `autocomplete`. */
export const CHECKOUT_FIELDS = [
  {
    name: "email",
    label: "E-mail",
    type: "email",
    autocomplete: "email",
    required: true,
    max: 254,
    wide: true,
  },
  { name: "first_name", label: "First name", autocomplete: "given-name", required: true, max: 80 },
  { name: "last_name", label: "Last name", autocomplete: "family-name", required: true, max: 80 },
  {
    name: "address_1",
    label: "Street and number",
    autocomplete: "address-line1",
    required: true,
    max: 120,
    wide: true,
  },
  {
    name: "address_2",
    label: "Flat, floor, company (optional)",
    autocomplete: "address-line2",
    max: 120,
    wide: true,
  },
  {
    name: "postal_code",
    label: "Postal code",
    autocomplete: "postal-code",
    required: true,
    max: 20,
  },
  { name: "city", label: "City", autocomplete: "address-level2", required: true, max: 80 },
  { name: "phone", label: "Telephone (optional)", type: "tel", autocomplete: "tel", max: 40 },
]

/**
 * Render the checkout form, with a problem beside each invalid field.
 *
 * @param {{ cart: Any, deliveries: Any[], countries: Any[], values: Record<string, string>,
 *   problems: Record<string, string> }} state
 */
export function renderCheckoutPage({ cart, deliveries, countries, values, problems }) {
  const currency = cart.currency_code
  const chosen = values.delivery || deliveries[0]?.id
  const hasProblems = Object.keys(problems).length > 0
  const notice = problems[""] ?? (hasProblems ? "Please correct the marked fields." : "")
  const subtotal = Number(cart.item_subtotal ?? cart.subtotal)
  return html`<section class="hero"><h1>Checkout</h1></section>
${renderNotice(notice)}
<form method="post" action="/checkout" class="split">
<div class="steps">
  <fieldset class="step"><legend>Delivery address</legend><div class="fields">
    ${CHECKOUT_FIELDS.map((field) =>
      renderField(field, values[field.name] ?? "", problems[field.name]),
    )}
    <div class="field"><label for="country_code">Country</label>
      <select id="country_code" name="country_code" autocomplete="country" required>
      ${countries.map((country) => renderCountry(country, values.country_code))}
      </select></div>
  </div></fieldset>
  <fieldset class="step"><legend>Delivery method</legend>
    ${problems.delivery ? html`<p class="problem">${problems.delivery}</p>` : ""}
    ${deliveries.map((each) => renderDelivery(each, currency, each.id === chosen))}
  </fieldset>
  <fieldset class="step"><legend>Payment</legend>
    <label class="choice"><input type="radio" name="payment" value="cod" checked required>
      <span>Cash on delivery <span class="soft">Pay when your order arrives.</span></span></label>
  </fieldset>
</div>
<aside class="sum"><h2>Your order</h2>
<ul class="brief">${cart.items.map(
    (/** @type {Any} */ item) => html`<li><span>${item.quantity} × ${renderItemName(item)}</span>
<span>${formatMoney(item.unit_price * item.quantity, currency)}</span></li>`,
  )}</ul>
${renderTotals([
  ["Products", formatMoney(subtotal, currency)],
  ...deliveries.map((each) => buildTotalRow(each, subtotal, currency)),
])}
<button>Place order</button>
<p class="soft small">You pay in cash when the order is delivered.</p></aside>
</form>`
}

function renderCountry(/** @type {Any} */ country, /** @type {string} */ selected) {
  const attribute = country.iso_2 === selected ? html`selected` : ""
  return html`<option value="${country.iso_2}" ${attribute}>${country.display_name}</option>`
}

function renderDelivery(
  /** @type {Any} */ delivery,
  /** @type {string} */ currency,
  /** @type {boolean} */ isChosen,
) {
  const checked = isChosen ? html`checked` : ""
  return html`<label class="choice">
<input type="radio" name="delivery" value="${delivery.id}" required ${checked}>
<span>${delivery.name} <span class="soft">${delivery.type?.description}</span></span>
<span class="price">${formatMoney(delivery.amount, currency)}</span></label>`
}

/** Build the total with one delivery method; without JavaScript the page shows one per method. */
function buildTotalRow(
  /** @type {Any} */ delivery,
  /** @type {number} */ subtotal,
  /** @type {string} */ currency,
) {
  return /** @type {[string, string]} */ ([
    `With ${delivery.name.toLowerCase()}`,
    formatMoney(subtotal + Number(delivery.amount), currency),
  ])
}

function renderField(
  /** @type {Any} */ field,
  /** @type {string} */ value,
  /** @type {string | undefined} */ problem,
) {
  const { name, label, type = "text", autocomplete, required, max, wide } = field
  return html`<div class="field${wide ? " wide-field" : ""}"><label for="${name}">${label}</label>
<input id="${name}" name="${name}" type="${type}" value="${value}" autocomplete="${autocomplete}"
  maxlength="${max}" ${required ? html`required` : ""}
  ${problem ? html`aria-invalid="true" aria-describedby="${name}-problem"` : ""}>
${problem ? html`<span class="wrong" id="${name}-problem">${problem}</span>` : ""}</div>`
}

/** Render the confirmation of an order. @param {Any} order @param {Any[]} countries */
export function renderOrderPage(order, countries) {
  const currency = order.currency_code
  const address = order.shipping_address ?? {}
  const country =
    countries.find((each) => each.iso_2 === address.country_code)?.display_name ??
    address.country_code
  const thanks = address.first_name ? `Thank you, ${address.first_name}!` : "Thank you!"
  return html`<section class="hero"><h1>${thanks}</h1>
<p>Your order number is <strong class="number">${order.display_id}</strong>.
You can return to this page at any time.</p></section>
<div class="split">
<section><h2>Your order</h2>
<ul class="lines">${order.items.map((/** @type {Any} */ item) => renderOrderItem(item, currency))}</ul>
${renderTotals([
  ["Products", formatMoney(order.item_subtotal ?? order.item_total, currency)],
  ["Delivery", formatMoney(order.shipping_total, currency)],
  ...(Number(order.tax_total)
    ? [/** @type {[string, string]} */ (["Tax", formatMoney(order.tax_total, currency)])]
    : []),
  ["Total", formatMoney(order.total, currency)],
])}</section>
<aside class="sum"><h2>Delivery</h2>
<p>${order.shipping_methods?.[0]?.name}</p>
${renderAddress(address, country)}
<h2>Payment</h2><p>Cash on delivery: please have ${formatMoney(order.total, currency)} ready.</p>
<a class="button quiet" href="/">Back to the shop</a></aside>
</div>`
}

/** @param {Any} item @param {string} currency */
const renderOrderItem = (item, currency) => html`<li class="line">
<span class="thumb">${renderPicture(item)}</span>
<div class="what">${renderItemName(item)}
<span class="soft">${item.quantity} × ${formatMoney(item.unit_price, currency)}</span></div>
<span class="price">${formatMoney(item.unit_price * item.quantity, currency)}</span></li>`

/** @param {Any} address @param {string | undefined} country */
function renderAddress(address, country) {
  const lines = [
    `${address.first_name ?? ""} ${address.last_name ?? ""}`,
    address.address_1,
    address.address_2,
    `${address.postal_code ?? ""} ${address.city ?? ""}`,
    country,
  ]
  const filled = lines.filter((line) => line?.trim())
  return html`<address>${filled.map((line) => html`${line}<br>`)}</address>`
}
