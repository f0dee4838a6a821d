/** What every page of the shop has around it. */

import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { html } from "./html.mjs"

const STYLE = join(import.meta.dirname, "../../assets/shop.css")
const style = `/assets/shop.css?v=${createHash("sha256").update(readFileSync(STYLE)).digest("hex").slice(0, 12)}`

const BAG = html`<svg viewBox="0 0 24 24" width="20" height="20" aria-hidden="true" focusable="false">
  <path d="M5 8h14l-1 12H6L5 8Zm4 0V6.5a3 3 0 0 1 6 0V8" fill="none" stroke="currentColor" stroke-width="1.7" stroke-linejoin="round" stroke-linecap="round"/>
</svg>`

/**
 * @typedef {{ title: string, key: string, count: number, categories: Record<string, any>[], words?: string, current?: string }} Frame
 */

/**
 * @param {Frame} frame
 * @param {{ title: string, main: import("./html.mjs").Markup, plain?: boolean }} page `plain` is for steps that nothing should distract from
 */
export function layout(frame, { title, main, plain = false }) {
  const name = title ? `${title} – ${frame.title}` : frame.title
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="publishable-key" content="${frame.key}">
<title>${name}</title>
<link rel="icon" href="/assets/shop.svg" type="image/svg+xml">
<link rel="stylesheet" href="${style}">
</head>
<body>
<a class="skip" href="#main">Skip to content</a>
<header class="top">
  <div class="wide bar">
    <a class="brand" href="/">${frame.title}</a>
    ${plain ? "" : search(frame)}
    <a class="bag" href="/cart">${BAG}<span>Cart</span><span class="count">${frame.count}<span class="hidden"> ${frame.count === 1 ? "item" : "items"}</span></span></a>
  </div>
  ${plain ? "" : categories(frame)}
</header>
<main id="main" class="wide" tabindex="-1">
${main}
</main>
<footer class="bottom"><div class="wide bar"><span>${frame.title}</span><span class="soft">Pay in cash when your order arrives.</span></div></footer>
</body>
</html>
`
}

/** @param {Frame} frame */
const search = (frame) => html`<form class="search" action="/" role="search">
      <label class="hidden" for="words">Search the shop</label>
      <input id="words" name="q" type="search" maxlength="80" placeholder="Search" value="${frame.words ?? ""}">
      <button class="quiet">Search</button>
    </form>`

/** @param {Frame} frame */
const categories = (frame) => html`<nav class="wide kinds" aria-label="Categories">
    <a href="/" ${frame.current === "" ? html`aria-current="page"` : ""}>Everything</a>
    ${frame.categories.map(
      (category) =>
        html`<a href="/categories/${encodeURIComponent(category.handle)}" ${frame.current === category.handle ? html`aria-current="page"` : ""}>${category.name}</a>`,
    )}
  </nav>`
