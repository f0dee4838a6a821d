/** Render the product pages: a list, the categories, and one product. */

import { html, formatMoney } from "./html.mjs"

/** @typedef {Record<string, any>} Any */

/** Render the lowest price of a product's variants, with “from” if others cost more. */
function renderPrice(/** @type {Any} */ product) {
  const prices = (product.variants ?? [])
    .map((/** @type {Any} */ variant) => variant.calculated_price)
    .filter(
      (/** @type {Any} */ found) =>
        found?.calculated_amount !== null && found?.calculated_amount !== undefined,
    )
  if (!prices.length) return html`<span class="soft">No price yet</span>`
  const amounts = prices.map((/** @type {Any} */ found) => Number(found.calculated_amount))
  const lowest = Math.min(...amounts)
  const text = formatMoney(lowest, prices[0].currency_code)
  return html`${Math.max(...amounts) > lowest ? html`<span class="soft">from</span> ` : ""}${text}`
}

const hasPrice = (/** @type {Any} */ variant) =>
  (variant.calculated_price?.calculated_amount ?? null) !== null

const isInStock = (/** @type {Any} */ variant) =>
  !variant.manage_inventory ||
  variant.allow_backorder ||
  Number(variant.inventory_quantity ?? 0) > 0

const isAvailable = (/** @type {Any} */ variant) => hasPrice(variant) && isInStock(variant)

const renderPicture = (/** @type {Any} */ product, /** @type {string} */ alt) =>
  listPictures(product).length
    ? html`<img src="${listPictures(product)[0]}" alt="${alt}" width="800" height="800" decoding="async">`
    : html`<span class="blank" aria-hidden="true"></span>`

/**
 * Render a page of a product list.
 *
 * @param {{ heading: string, text?: string, products: Any[], count: number, offset: number,
 *   limit: number, path: string, words?: string }} list
 */
export function renderProductListPage({
  heading,
  text,
  products,
  count,
  offset,
  limit,
  path,
  words,
}) {
  return html`<section class="hero"><h1>${heading}</h1>${text ? html`<p>${text}</p>` : ""}</section>
${products.length ? "" : html`<p class="note">No products found. <a href="/">See all products</a>.</p>`}
<ul class="goods">
${products.map(
  (product) => html`<li class="good">
  <a href="/products/${encodeURIComponent(product.handle)}">
    <span class="frame">${renderPicture(product, "")}</span>
    <span class="name">${product.title}</span>
    <span class="price">${renderPrice(product)}</span>
  </a>
</li>`,
)}
</ul>
${renderPagination({ count, offset, limit, path, words })}`
}

function renderPagination(
  /** @type {{ count: number, offset: number, limit: number, path: string, words?: string }} */ at,
) {
  const { count, offset, limit, path, words } = at
  if (count <= limit) return ""
  const to = (/** @type {number} */ start) =>
    `${path}?${new URLSearchParams({ ...(words ? { q: words } : {}), from: String(start) })}`
  return html`<nav class="pagination" aria-label="Pages">
  ${
    offset > 0
      ? html`<a class="button quiet" href="${to(Math.max(0, offset - limit))}" rel="prev">Previous</a>`
      : html`<span></span>`
  }
  <span class="soft">${offset + 1} to ${Math.min(count, offset + limit)} of ${count}</span>
  ${
    offset + limit < count
      ? html`<a class="button quiet" href="${to(offset + limit)}" rel="next">Next</a>`
      : html`<span></span>`
  }
</nav>`
}

/** Render the list of all categories. @param {Any[]} categories */
export const renderCategoriesPage = (categories) => html`<section class="hero">
<h1>Categories</h1></section>
<ul class="plain">${categories.map(
  (category) => html`<li><a href="/categories/${encodeURIComponent(category.handle)}">
${category.name}</a></li>\n`,
)}</ul>`

/** List all pictures, the one that represents the product first. @param {Any} product */
function listPictures(product) {
  const images = [...(product.images ?? [])].sort((a, b) => (a.rank ?? 0) - (b.rank ?? 0))
  const urls = [product.thumbnail, ...images.map((/** @type {Any} */ image) => image.url)]
  return [...new Set(urls.filter(Boolean))]
}

/** Render all pictures of a product; each further one links to the file. @param {Any} product */
function renderGallery(product) {
  const [first, ...others] = listPictures(product)
  const picture = renderPicture({ thumbnail: first }, product.title)
  if (!others.length) return html`<div class="frame large">${picture}</div>`
  return html`<div class="gallery"><div class="frame large">${picture}</div>
<ul>${others.map(
    (url, index) => html`<li><a class="frame" href="${url}">
<img src="${url}" alt="${product.title}, picture ${index + 2}" width="400" height="400"
  loading="lazy" decoding="async"></a></li>\n`,
  )}</ul></div>`
}

const renderCategoryLink = (/** @type {Any} */ category) =>
  html`<p class="soft">
<a href="/categories/${encodeURIComponent(category.handle)}">${category.name}</a></p>`

/**
 * Render one product with its order form.
 *
 * @param {Any} product
 * @param {{ problem?: string }} state
 */
export function renderProductPage(product, { problem = "" } = {}) {
  const variants = [...(product.variants ?? [])].sort(
    (a, b) => (a.variant_rank ?? 0) - (b.variant_rank ?? 0),
  )
  const first = variants.find(isAvailable)
  const option =
    product.options?.map((/** @type {Any} */ each) => each.title).join(" / ") || "Variant"
  return html`<article class="product">
  ${renderGallery(product)}
  <div class="about">
    ${product.categories?.[0] ? renderCategoryLink(product.categories[0]) : ""}
    <h1>${product.title}</h1>
    <p class="price big">${renderPrice(product)}</p>
    ${problem ? html`<p class="problem" role="alert">${problem}</p>` : ""}
    <p class="text">${product.description}</p>
    <form method="post" action="/cart">
      <input type="hidden" name="handle" value="${product.handle}">
      ${
        variants.length > 1
          ? renderVariantChoices(variants, option, first)
          : html`<input type="hidden" name="variant" value="${variants[0]?.id}">`
      }
      ${
        first
          ? html`<div class="row"><label for="quantity">Quantity</label>
      <input id="quantity" name="quantity" type="number" inputmode="numeric" min="1" max="99"
        value="1" required>
      <button>Add to cart</button></div>`
          : html`<p class="note">${variants.some(hasPrice) ? "Sold out." : "Not for sale yet."}</p>`
      }
    </form>
    <p class="soft small">Cash on delivery.</p>
  </div>
</article>`
}

const renderVariantChoices = (
  /** @type {Any[]} */ variants,
  /** @type {string} */ option,
  /** @type {Any | undefined} */ first,
) =>
  html`<fieldset class="choices"><legend>${option}</legend>
${variants.map((variant) => renderVariant(variant, variant === first))}
</fieldset>`

function renderVariant(/** @type {Any} */ variant, /** @type {boolean} */ isChosen) {
  const state = isChosen ? html`checked` : isAvailable(variant) ? "" : html`disabled`
  const note = hasPrice(variant) && !isInStock(variant) ? " (sold out)" : ""
  return html`<label class="choice">
<input type="radio" name="variant" value="${variant.id}" required ${state}>
<span>${variant.title}${note} <span class="soft">${renderPrice({ variants: [variant] })}</span></span>
</label>`
}
