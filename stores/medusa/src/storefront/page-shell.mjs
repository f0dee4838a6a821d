/** The page shell: head, header and footer around every page of the storefront. */

import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { html } from "./html.mjs"

const STYLESHEET = join(import.meta.dirname, "../../assets/shop.css")
const stylesheetHash = createHash("sha256").update(readFileSync(STYLESHEET)).digest("hex")
const stylesheetUrl = `/assets/shop.css?v=${stylesheetHash.slice(0, 12)}`

/** Further categories are on a page of their own. */
const CATEGORIES_SHOWN = 12

const CART_ICON = html`<svg viewBox="0 0 24 24" width="20" height="20" aria-hidden="true" focusable="false">
  <path d="M5 8h14l-1 12H6L5 8Zm4 0V6.5a3 3 0 0 1 6 0V8" fill="none" stroke="currentColor"
    stroke-width="1.7" stroke-linejoin="round" stroke-linecap="round"/>
</svg>`

/**
 * @typedef {{ title: string, key: string, count: number, categories: Record<string, any>[],
 *   words?: string, current?: string }} PageShell `count` of items in the cart, `words` of the
 *   search, `current` category
 */

/**
 * Render a whole page.
 *
 * @param {PageShell} shell
 * @param {{ title: string, main: import("./html.mjs").Markup, plain?: boolean }} page
 *   `plain` leaves out search and categories, for the checkout
 */
export function renderPage(shell, { title, main, plain = false }) {
  const name = title ? `${title} – ${shell.title}` : shell.title
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
${shell.key ? html`<meta name="publishable-key" content="${shell.key}">` : ""}
<title>${name}</title>
<link rel="icon" href="/assets/shop.svg" type="image/svg+xml">
<link rel="stylesheet" href="${stylesheetUrl}">
</head>
<body>
<a class="skip" href="#main">Skip to content</a>
<header class="top">
  <div class="wide bar">
    <a class="brand" href="/">${shell.title}</a>
    ${plain ? "" : renderSearchForm(shell)}
    <a class="bag" href="/cart">${CART_ICON}<span>Cart</span>
      <span class="count">${shell.count}
        <span class="hidden">${shell.count === 1 ? "item" : "items"}</span></span></a>
  </div>
  ${plain ? "" : renderCategories(shell)}
</header>
<main id="main" class="wide" tabindex="-1">
${main}
</main>
<footer class="bottom"><div class="wide bar"><span>${shell.title}</span>
<span class="soft">Pay in cash when your order arrives.</span></div></footer>
</body>
</html>
`
}

/** @param {PageShell} shell */
const renderSearchForm = (shell) => html`<form class="search" action="/" role="search">
      <label class="hidden" for="words">Search the shop</label>
      <input id="words" name="q" type="search" maxlength="80" placeholder="Search" value="${shell.words ?? ""}">
      <button class="quiet">Search</button>
    </form>`

/** @param {PageShell} shell */
const renderCategories = (shell) => html`<nav class="wide kinds" aria-label="Categories">
    <a href="/" ${markCurrent(shell.current === "")}>All products</a>
    ${shell.categories
      .slice(0, CATEGORIES_SHOWN)
      .map((category) => renderCategory(category, shell.current))}
    ${shell.categories.length > CATEGORIES_SHOWN ? html`<a href="/categories">All categories</a>` : ""}
  </nav>`

/** @param {Record<string, any>} category @param {string | undefined} current */
function renderCategory({ handle, name }, current) {
  const url = `/categories/${encodeURIComponent(handle)}`
  return html`<a href="${url}" ${markCurrent(handle === current)}>${name}</a>`
}

const markCurrent = (/** @type {boolean} */ isCurrent) =>
  isCurrent ? html`aria-current="page"` : ""
