/** Who answers which request: the storefront, the admin's files, uploaded files, and Medusa for all the rest. */

import { join } from "node:path"
import { Files } from "./files.mjs"
import { line } from "./lines.mjs"
import { HOME } from "./release.mjs"
import { Shop } from "../storefront/shop.mjs"
import { Storefront } from "../storefront/storefront.mjs"

/** Ids in paths that open something by themselves: a guest's cart and order, an invitation. */
const OPENERS = /\b(cart|order|invite|paycol|payses)_[A-Za-z0-9]+/g
const PROBES = new Set(["/healthz", "/readyz"])
/** A picture from elsewhere is only a picture, whatever is in it. */
const UPLOADED = { "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox" }

export class Site {
  /** @param {Readonly<Record<string, any>>} store */
  constructor(store) {
    this.store = store
    this.files = [
      new Files("/assets/", join(HOME, "assets"), { maxAge: 86_400 }),
      new Files("/app/", join(HOME, "public/admin"), { maxAge: 31_536_000, index: "index.html" }),
      new Files("/static/", join(store.data_dir, "static"), { maxAge: 3600, headers: UPLOADED }),
    ]
    /** @type {import("node:http").RequestListener | null} */
    this.medusa = null
    /** @type {Storefront | null} */
    this.storefront = null
  }

  /**
   * @param {import("node:http").RequestListener} medusa
   * @param {{ raw: (sql: string) => Promise<{ rows: any[] }> }} database
   */
  open(medusa, database) {
    const shop = new Shop({ server: `http://127.0.0.1:${this.store.port}`, database })
    this.storefront = new Storefront(shop, this.store)
    this.medusa = medusa
  }

  /** From now on nobody is sent here. */
  close() {
    this.closing = true
  }

  /** @type {import("node:http").RequestListener} */
  answer(request, response) {
    const began = performance.now()
    const path = (request.url ?? "/").split("?", 1)[0]
    response.setHeader("x-content-type-options", "nosniff")
    if (!PROBES.has(path) && !path.startsWith("/assets/")) response.on("close", () => log(request, response, path, began))
    this.find(request, response, path).catch((error) => {
      line("error", error.message, { exception: error.stack, ...request_id(request) })
      if (response.headersSent) response.destroy()
      else plain(response, 500, "Something went wrong on our side. Please try again.")
    })
  }

  async find(
    /** @type {import("node:http").IncomingMessage} */ request,
    /** @type {import("node:http").ServerResponse} */ response,
    /** @type {string} */ path,
  ) {
    if (path === "/healthz") return plain(response, 200, "alive")
    if (!this.storefront || !this.medusa || (this.closing && path === "/readyz")) {
      response.setHeader("retry-after", "2")
      return plain(response, 503, "The shop opens in a moment.")
    }
    if (path === "/readyz") return plain(response, 200, "open")
    if (path === "/app") return redirect(response, "/app/")
    for (const files of this.files) if (await files.answer(request, response, path)) return
    if (await this.storefront.answer(request, response)) return
    this.medusa(request, response)
  }
}

/** @param {import("node:http").ServerResponse} response @param {number} status @param {string} text */
function plain(response, status, text) {
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8", "cache-control": "no-store" }).end(`${text}\n`)
}

/** @param {import("node:http").ServerResponse} response @param {string} location */
function redirect(response, location) {
  response.writeHead(308, { location }).end()
}

/** @param {import("node:http").IncomingMessage} request */
function request_id(request) {
  const given = request.headers["x-request-id"]
  return typeof given === "string" && /^[\w.-]{1,64}$/.test(given) ? { request_id: given } : {}
}

function log(
  /** @type {import("node:http").IncomingMessage} */ request,
  /** @type {import("node:http").ServerResponse} */ response,
  /** @type {string} */ path,
  /** @type {number} */ began,
) {
  const inside = request.headers["user-agent"] === Shop.AGENT
  if (inside) return // the storefront asks its own server; its page has a line
  line("info", "request", {
    method: request.method,
    path: path.slice(0, 200).replace(OPENERS, "$1_…"),
    status: response.statusCode,
    duration_ms: Math.round((performance.now() - began) * 10) / 10,
    ...request_id(request),
  })
}
