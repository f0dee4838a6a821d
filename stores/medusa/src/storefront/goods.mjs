/** Pages of the goods: the list and one product. */

import { html, money } from "./html.mjs"

/** @typedef {Record<string, any>} Any */

/** The least that it costs, and whether some of it costs more. */
function price(/** @type {Any} */ product) {
  const prices = (product.variants ?? [])
    .map((/** @type {Any} */ variant) => variant.calculated_price)
    .filter((/** @type {Any} */ found) => found?.calculated_amount !== null && found?.calculated_amount !== undefined)
  if (!prices.length) return html`<span class="soft">No price yet</span>`
  const amounts = prices.map((/** @type {Any} */ found) => Number(found.calculated_amount))
  const least = Math.min(...amounts)
  const text = money(least, prices[0].currency_code)
  return html`${Math.max(...amounts) > least ? html`<span class="soft">from</span> ` : ""}${text}`
}

const available = (/** @type {Any} */ variant) =>
  !variant.manage_inventory || variant.allow_backorder || Number(variant.inventory_quantity ?? 0) > 0

const picture = (/** @type {Any} */ product, /** @type {string} */ alt) =>
  product.thumbnail
    ? html`<img src="${product.thumbnail}" alt="${alt}" width="800" height="800" decoding="async">`
    : html`<span class="blank" aria-hidden="true"></span>`

/** @param {{ heading: string, text?: string, products: Any[], count: number, offset: number, limit: number, path: string, words?: string }} list */
export function goodsPage({ heading, text, products, count, offset, limit, path, words }) {
  return html`<section class="hero"><h1>${heading}</h1>${text ? html`<p>${text}</p>` : ""}</section>
${products.length ? "" : html`<p class="note">Nothing here fits. <a href="/">See everything</a>.</p>`}
<ul class="goods">
${products.map(
  (product) => html`<li class="good">
  <a href="/products/${encodeURIComponent(product.handle)}">
    <span class="frame">${picture(product, "")}</span>
    <span class="name">${product.title}</span>
    <span class="price">${price(product)}</span>
  </a>
</li>`,
)}
</ul>
${turn({ count, offset, limit, path, words })}`
}

function turn(/** @type {{ count: number, offset: number, limit: number, path: string, words?: string }} */ at) {
  const { count, offset, limit, path, words } = at
  if (count <= limit) return ""
  const to = (/** @type {number} */ start) =>
    `${path}?${new URLSearchParams({ ...(words ? { q: words } : {}), from: String(start) })}`
  return html`<nav class="turn" aria-label="Pages">
  ${offset > 0 ? html`<a class="button quiet" href="${to(Math.max(0, offset - limit))}" rel="prev">Back</a>` : html`<span></span>`}
  <span class="soft">${offset + 1} to ${Math.min(count, offset + limit)} of ${count}</span>
  ${offset + limit < count ? html`<a class="button quiet" href="${to(offset + limit)}" rel="next">More</a>` : html`<span></span>`}
</nav>`
}

/** @param {Any} product @param {{ problem?: string }} state */
export function productPage(product, { problem = "" } = {}) {
  const variants = [...product.variants].sort((a, b) => (a.variant_rank ?? 0) - (b.variant_rank ?? 0))
  const first = variants.find(available)
  const option = product.options?.map((/** @type {Any} */ each) => each.title).join(" / ") || "Kind"
  return html`<article class="product">
  <div class="frame large">${picture(product, product.title)}</div>
  <div class="about">
    ${product.categories?.[0] ? html`<p class="soft"><a href="/categories/${encodeURIComponent(product.categories[0].handle)}">${product.categories[0].name}</a></p>` : ""}
    <h1>${product.title}</h1>
    <p class="price big">${price(product)}</p>
    ${problem ? html`<p class="problem" role="alert">${problem}</p>` : ""}
    <p class="text">${product.description}</p>
    <form method="post" action="/cart">
      <input type="hidden" name="handle" value="${product.handle}">
      ${variants.length > 1 ? choices(variants, option, first) : html`<input type="hidden" name="variant" value="${variants[0]?.id}">`}
      ${
        first
          ? html`<div class="row"><label for="quantity">Quantity</label>
      <input id="quantity" name="quantity" type="number" inputmode="numeric" min="1" max="99" value="1" required>
      <button>Add to cart</button></div>`
          : html`<p class="note">Sold out for now.</p>`
      }
    </form>
    <p class="soft small">Cash on delivery. Stock and prices are as of now.</p>
  </div>
</article>`
}

const choices = (/** @type {Any[]} */ variants, /** @type {string} */ option, /** @type {Any | undefined} */ first) =>
  html`<fieldset class="choices"><legend>${option}</legend>
${variants.map(
  (variant) => html`<label class="choice"><input type="radio" name="variant" value="${variant.id}" required ${variant === first ? html`checked` : ""} ${available(variant) ? "" : html`disabled`}>
  <span>${variant.title}${available(variant) ? "" : " (sold out)"} <span class="soft">${price({ variants: [variant] })}</span></span></label>`,
)}
</fieldset>`
