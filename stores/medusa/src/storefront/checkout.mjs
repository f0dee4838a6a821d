/** Render the pages before an order: cart and checkout form. */

import { html, formatMoney } from "./html.mjs"
import { listAdjustments } from "./order.mjs"

/** @typedef {Record<string, any>} Any */

const renderNotice = (/** @type {string | undefined} */ problem) =>
  problem ? html`<p class="problem" role="alert">${problem}</p>` : ""

/** Render a product's name, and its variant unless there is only the standard one. */
export function renderItemName(/** @type {Any} */ item) {
  const variant = item.variant_title === "Standard" ? "" : item.variant_title
  return html`<span class="name">${item.product_title ?? item.title}</span>
${variant ? html`<span class="soft">${variant}</span>` : ""}`
}

export const renderPicture = (/** @type {Any} */ item) =>
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

export const renderTotals = (/** @type {[string, string][]} */ rows) =>
  html`<dl class="sums">${rows.map(
    ([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`,
  )}</dl>`

/**
 * The fields of the checkout form; browsers fill them in by `autocomplete`. Whether postal code and
 * city are required depends on the country, so the browser does not check it.
 */
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
    hint: "where the country has them",
    autocomplete: "postal-code",
    max: 20,
  },
  { name: "city", label: "City", autocomplete: "address-level2", max: 80 },
  {
    name: "province",
    label: "State, province or county (optional)",
    autocomplete: "address-level1",
    max: 80,
  },
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
  const chosen = deliveries.find(({ id }) => id === values.delivery)?.id ?? deliveries[0]?.id
  const hasProblems = Object.keys(problems).length > 0
  const notice = problems[""] ?? (hasProblems ? "Please correct the marked fields." : "")
  return html`<section class="hero"><h1>Checkout</h1></section>
${renderNotice(notice)}
<form method="post" action="/checkout" class="split">
<input type="hidden" name="cart" value="${cart.id}">
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
    ${
      deliveries.length
        ? deliveries.map((each) => renderDelivery(each, currency, each.id === chosen))
        : html`<p class="problem">The shop does not deliver to this country at the moment.</p>`
    }
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
  ["Products", formatMoney(cart.item_subtotal ?? cart.subtotal, currency)],
  ...listAdjustments(cart),
  ...deliveries.map((each) => buildTotalRow(each, cart)),
])}
${deliveries.map(
  // The total that the customer confirms; see purchase.mjs.
  (each) => html`<input type="hidden" name="total-${each.id}" value="${computeTotal(cart, each)}">`,
)}
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

/**
 * Compute the total with a delivery method. Its tax is included once it has been chosen.
 *
 * @param {Any} cart @param {Any} delivery
 */
export function computeTotal(cart, delivery) {
  const total = Number(cart.total ?? cart.item_subtotal ?? cart.subtotal)
  const isChosen = cart.shipping_methods?.[0]?.shipping_option_id === delivery.id
  return isChosen ? total : total - Number(cart.shipping_total ?? 0) + Number(delivery.amount)
}

/**
 * Build the row of the total with one delivery method; without JavaScript there is one per method.
 *
 * @param {Any} delivery @param {Any} cart @returns {[string, string]}
 */
const buildTotalRow = (delivery, cart) => [
  `With ${delivery.name.toLowerCase()}`,
  formatMoney(computeTotal(cart, delivery), cart.currency_code),
]

function renderField(
  /** @type {Any} */ field,
  /** @type {string} */ value,
  /** @type {string | undefined} */ problem,
) {
  const { name, label, hint, type = "text", autocomplete, required, max, wide } = field
  return html`<div class="field${wide ? " wide-field" : ""}"><label for="${name}">${label}${hint ? html` <span class="soft">${hint}</span>` : ""}</label>
<input id="${name}" name="${name}" type="${type}" value="${value}" autocomplete="${autocomplete}"
  maxlength="${max}" ${required ? html`required` : ""}
  ${problem ? html`aria-invalid="true" aria-describedby="${name}-problem"` : ""}>
${problem ? html`<span class="wrong" id="${name}-problem">${problem}</span>` : ""}</div>`
}
