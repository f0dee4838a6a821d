/** Route each request to the probes, the storefront, the admin's files, uploads, or Medusa. */

import { join } from "node:path"
import { StaticFiles } from "./files.mjs"
import { StoreHealth } from "./health.mjs"
import { writeLog } from "./logs.mjs"
import { MailOutbox } from "./mail-outbox.mjs"
import { openPool } from "./postgres.mjs"
import { HOME } from "./release.mjs"
import { checkUpload, discardUpload } from "./uploads.mjs"
import { StoreApiClient } from "../storefront/store-api.mjs"
import { Storefront } from "../storefront/storefront.mjs"

/** Ids in paths that grant access by themselves: a guest's cart and order, an invitation. */
const SECRET_IDS = /\b(cart|order|invite|paycol|payses)_[A-Za-z0-9]+/g
/** Below the timeout of the readiness probe. */
const QUERY_TIMEOUT_MS = 2000
const HEALTH = "/storefleet/health"
/** Requests of the platform, which are too frequent to be logged. */
const PROBES = new Set(["/healthz", "/readyz", HEALTH])
/** An uploaded file must not run scripts, whatever it contains. */
const UPLOAD_HEADERS = {
  "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
}

export class Router {
  /** @param {Readonly<Record<string, any>>} store */
  constructor(store) {
    this.store = store
    this.files = [
      new StaticFiles("/assets/", join(HOME, "assets"), { maxAge: 86_400 }),
      new StaticFiles("/app/", join(HOME, "public/admin"), {
        maxAge: 31_536_000,
        index: "index.html",
      }),
      new StaticFiles("/static/", join(store.data_dir, "static"), {
        maxAge: 3600,
        headers: UPLOAD_HEADERS,
      }),
    ]
    // Connections of their own: busy customers must not make the store look unhealthy.
    const pool = openPool(store.database, { max: 2, timeoutMs: QUERY_TIMEOUT_MS })
    this.health = new StoreHealth(store, pool)
    this.outbox = new MailOutbox(store, pool)
    /** @type {import("node:http").RequestListener | null} */
    this.medusa = null
    /** @type {Storefront | null} */
    this.storefront = null
  }

  /**
   * Start answering pages, once Medusa has started.
   *
   * @param {import("node:http").RequestListener} medusa
   * @param {{ raw: (sql: string) => Promise<{ rows: any[] }> }} database
   */
  attachMedusa(medusa, database) {
    const client = new StoreApiClient({ server: `http://127.0.0.1:${this.store.port}`, database })
    this.storefront = new Storefront(client, this.store)
    this.medusa = medusa
    this.health.hasStarted = true
  }

  /** Fail the readiness probe from now on, so that no new requests are routed here. */
  startDraining() {
    this.isDraining = true
  }

  /** @type {import("node:http").RequestListener} */
  handleRequest(request, response) {
    const began = performance.now()
    const path = (request.url ?? "/").split("?", 1)[0]
    response.setHeader("x-content-type-options", "nosniff")
    if (!PROBES.has(path) && !path.startsWith("/assets/")) {
      response.on("close", () => logRequest(request, response, path, began))
    }
    this.routeRequest(request, response, path).catch((error) => {
      writeLog("error", error.message, { exception: error.stack, ...readRequestId(request) })
      if (response.headersSent) response.destroy()
      else
        sendText(
          response,
          500,
          "An error occurred and was recorded. Please try again.",
        )
    })
  }

  async routeRequest(
    /** @type {import("node:http").IncomingMessage} */ request,
    /** @type {import("node:http").ServerResponse} */ response,
    /** @type {string} */ path,
  ) {
    if (path === "/healthz") return sendText(response, 200, "ok")
    if (path === HEALTH) return sendJson(response, 200, await this.health.report())
    if (!this.storefront || !this.medusa || (this.isDraining && path === "/readyz")) {
      response.setHeader("retry-after", "2")
      return sendText(response, 503, "The shop is starting. Please try again in a moment.")
    }
    if (path === "/readyz") return this.#answerReadinessProbe(response)
    if (await this.outbox.handleRequest(request, response)) return
    const problem = checkUpload(request, this.store.upload_max_bytes)
    if (problem) {
      await discardUpload(request)
      return sendJson(response.setHeader("connection", "close"), 413, problem)
    }
    if (path === "/app") return sendRedirect(response, "/app/")
    for (const files of this.files) {
      if (await files.handleRequest(request, response, path)) return
    }
    if (await this.storefront.handleRequest(request, response)) return
    this.medusa(request, response)
  }

  /** Ready is: Medusa has started, which requires a finished set-up, and the database answers. */
  async #answerReadinessProbe(/** @type {import("node:http").ServerResponse} */ response) {
    const isReachable = await this.health.isDatabaseReachable()
    if (isReachable) sendText(response, 200, "ok")
    else sendText(response, 503, "The database does not answer.")
  }
}

/**
 * @param {import("node:http").ServerResponse} response
 * @param {number} status
 * @param {Record<string, unknown>} content
 */
function sendJson(response, status, content) {
  const headers = { "content-type": "application/json", "cache-control": "no-store" }
  response.writeHead(status, headers).end(JSON.stringify(content))
}

/**
 * @param {import("node:http").ServerResponse} response
 * @param {number} status
 * @param {string} text
 */
function sendText(response, status, text) {
  const headers = { "content-type": "text/plain; charset=utf-8", "cache-control": "no-store" }
  response.writeHead(status, headers).end(`${text}\n`)
}

/** @param {import("node:http").ServerResponse} response @param {string} location */
function sendRedirect(response, location) {
  response.writeHead(308, { location }).end()
}

/** @param {import("node:http").IncomingMessage} request */
function readRequestId(request) {
  const given = request.headers["x-request-id"]
  return typeof given === "string" && /^[\w.-]{1,64}$/.test(given) ? { request_id: given } : {}
}

function logRequest(
  /** @type {import("node:http").IncomingMessage} */ request,
  /** @type {import("node:http").ServerResponse} */ response,
  /** @type {string} */ path,
  /** @type {number} */ began,
) {
  // The storefront's own calls to the Store API are not logged: the page that causes them is.
  if (request.headers["user-agent"] === StoreApiClient.USER_AGENT) return
  writeLog("info", "request", {
    method: request.method,
    path: path.slice(0, 200).replace(SECRET_IDS, "$1_…"),
    status: response.statusCode,
    duration_ms: Math.round((performance.now() - began) * 10) / 10,
    ...readRequestId(request),
  })
}
