/** What a page needs of HTTP: fields of a form, the cart's cookie, answers. */

import { Refused } from "./shop.mjs"

const LIMIT = 64 << 10
const COOKIE = "cart"
const KEPT = 30 * 24 * 3600
const POLICY =
  "default-src 'none'; img-src 'self' https: data:; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

/** @param {import("node:http").IncomingMessage} request @returns {Promise<Record<string, string>>} */
export async function fields(request) {
  const kind = String(request.headers["content-type"]).split(";")[0]
  if (kind !== "application/x-www-form-urlencoded") throw new Refused(415, "This page takes forms only.")
  const parts = []
  let size = 0
  for await (const part of request) {
    size += part.length
    if (size > LIMIT) throw new Refused(413, "That was too much for one form.")
    parts.push(part)
  }
  const found = new URLSearchParams(Buffer.concat(parts).toString("utf8"))
  return Object.fromEntries([...found].map(([name, value]) => [name, value.replaceAll("\0", "").trim()]))
}

/** Whether a form comes from a page of this shop; a browser tells for every form that it sends. */
export function isOwn(/** @type {import("node:http").IncomingMessage} */ request) {
  const { origin, host } = request.headers
  if (request.headers["sec-fetch-site"] === "cross-site") return false
  if (origin === undefined) return true // not a browser, and so nobody's cookie
  try {
    return new URL(origin).host === host
  } catch {
    return false
  }
}

/** @param {import("node:http").IncomingMessage} request */
export function cartOf(request) {
  const found = /(?:^|;\s*)cart=([A-Za-z0-9_]{1,64})(?:;|$)/.exec(request.headers.cookie ?? "")
  return found ? found[1] : ""
}

/** @param {import("node:http").ServerResponse} response @param {string} id empty: forget it @param {boolean} secure */
export function keepCart(response, id, secure) {
  const age = id ? KEPT : 0
  const words = [`${COOKIE}=${id}`, "Path=/", `Max-Age=${age}`, "HttpOnly", "SameSite=Lax", ...(secure ? ["Secure"] : [])]
  response.setHeader("set-cookie", words.join("; "))
}

/** @param {import("node:http").ServerResponse} response @param {number} status @param {import("./html.mjs").Markup} page */
export function show(response, status, page) {
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

/** @param {import("node:http").ServerResponse} response @param {string} location */
export function go(response, location) {
  response.writeHead(303, { location, "cache-control": "no-store" }).end()
}
