/** HTTP helpers of the storefront's pages: read forms and the cart's cookie, send responses. */

import { RequestRejected } from "./store-api.mjs"

const FORM_SIZE_MAX_BYTES = 64 << 10
const CART_COOKIE = "cart"
const CART_COOKIE_AGE_S = 30 * 24 * 3600
const POLICY =
  "default-src 'none'; img-src 'self' https: data:; style-src 'self'; form-action 'self'; " +
  "base-uri 'none'; frame-ancestors 'none'"

/**
 * Read the fields of a submitted form.
 *
 * @param {import("node:http").IncomingMessage} request
 * @returns {Promise<Record<string, string>>}
 */
export async function readForm(request) {
  const kind = String(request.headers["content-type"]).split(";")[0]
  if (kind !== "application/x-www-form-urlencoded")
    throw new RequestRejected(415, "This page accepts submitted forms only.")
  const parts = []
  let size = 0
  for await (const part of request) {
    size += part.length
    if (size > FORM_SIZE_MAX_BYTES) throw new RequestRejected(413, "The form is too large.")
    parts.push(part)
  }
  const found = new URLSearchParams(Buffer.concat(parts).toString("utf8"))
  return Object.fromEntries(
    [...found].map(([name, value]) => [name, value.replaceAll("\0", "").trim()]),
  )
}

/** Check that a form was sent from this store's pages: browsers send the origin with every form. */
export function isSameOrigin(/** @type {import("node:http").IncomingMessage} */ request) {
  const { origin, host } = request.headers
  if (request.headers["sec-fetch-site"] === "cross-site") return false
  if (origin === undefined) return true // not a browser, so no user's cookie is abused
  try {
    return new URL(origin).host === host
  } catch {
    return false
  }
}

/** Read the cart's id from the cookie. @param {import("node:http").IncomingMessage} request */
export function readCartId(request) {
  const found = /(?:^|;\s*)cart=([A-Za-z0-9_]{1,64})(?:;|$)/.exec(request.headers.cookie ?? "")
  return found ? found[1] : ""
}

/**
 * Set the cart's cookie, or delete it if `id` is empty.
 *
 * @param {import("node:http").ServerResponse} response
 * @param {string} id
 * @param {boolean} secure
 */
export function setCartCookie(response, id, secure) {
  const age = id ? CART_COOKIE_AGE_S : 0
  const parts = [`${CART_COOKIE}=${id}`, "Path=/", `Max-Age=${age}`, "HttpOnly", "SameSite=Lax"]
  if (secure) parts.push("Secure")
  response.setHeader("set-cookie", parts.join("; "))
}

/**
 * Send a page.
 *
 * @param {import("node:http").ServerResponse} response
 * @param {number} status
 * @param {import("./html.mjs").Markup} page
 */
export function sendPage(response, status, page) {
  const content = Buffer.from(page.text)
  response.writeHead(status, {
    "content-type": "text/html; charset=utf-8",
    "content-length": content.length,
    "cache-control": "private, no-store",
    "content-security-policy": POLICY,
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
  })
  response.end(response.req.method === "HEAD" ? undefined : content)
}

/**
 * Redirect after a form.
 *
 * @param {import("node:http").ServerResponse} response
 * @param {string} location
 */
export function redirectTo(response, location) {
  response.writeHead(303, { location, "cache-control": "no-store" }).end()
}
