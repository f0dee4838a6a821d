/**
 * The store's health, for the platform's checks and the pod's probes. It has one connection of its
 * own, so that busy customers cannot make the store look unhealthy, and it needs nothing that the
 * store's owner can change: no product, no page, no user.
 */

import { readPending } from "./marks.mjs"
import { listMigrations } from "./migrations.mjs"
import { SETTINGS, isClosed } from "../storefront/settings.mjs"

const REQUEST_TIMEOUT_MS = 5000
/** Anyone may request the report, so it is not computed more often than this. */
const REPORT_DURATION_MS = 1000
/** With these texts Medusa rejects a request whose key the owner has revoked or not finished. */
const REJECTED_KEY = /publishable.*key/i

export class StoreHealth {
  #report = { until: 0, value: /** @type {Promise<Record<string, string>> | null} */ (null) }
  /** Whether Medusa has started; set by the server. */
  hasStarted = false

  /**
   * @param {Readonly<Record<string, any>>} store
   * @param {Pick<import("pg").Pool, "query">} pool
   * @param {() => string[]} listNeeded names of the migrations that this release needs
   */
  constructor(store, pool, listNeeded = listMigrations) {
    this.listNeeded = listNeeded
    this.server = `http://127.0.0.1:${store.port}`
    this.pool = pool
  }

  /** Check whether the database answers. */
  async isDatabaseReachable() {
    return this.pool.query("SELECT 1").then(
      () => true,
      () => false,
    )
  }

  /** Describe every part by one word; a report is at most one second old. */
  async report() {
    if (!this.#report.value || this.#report.until < Date.now()) {
      const value = this.#compileReport()
      this.#report = { until: Number.POSITIVE_INFINITY, value }
      // The caller handles a rejection; this second promise must not be an unhandled one.
      value.finally(() => (this.#report.until = Date.now() + REPORT_DURATION_MS)).catch(() => undefined)
    }
    return /** @type {Promise<Record<string, string>>} */ (this.#report.value)
  }

  async #compileReport() {
    const database = (await this.isDatabaseReachable()) ? "ok" : "unreachable"
    const schema = database === "ok" ? await this.#describeSchema() : "unknown"
    const settings = schema === "current" ? await this.#readSettings() : null
    const isRunning = this.hasStarted
    return {
      database,
      schema,
      setup: settings ? "done" : schema === "current" ? "pending" : "unknown",
      admin_api: isRunning ? await this.#describeAdminApi() : "unknown",
      store_api: isRunning && settings ? await this.#describeStoreApi(settings.key) : "unknown",
      storefront: settings ? (isClosed(settings) ? "closed" : "open") : "unknown",
    }
  }

  /** Compare the recorded migrations with those that this release of Medusa needs. */
  async #describeSchema() {
    try {
      return (await readPending(this.pool, this.listNeeded())).length ? "pending" : "current"
    } catch {
      return "unknown"
    }
  }

  async #readSettings() {
    try {
      return (await this.pool.query(SETTINGS)).rows[0] ?? null
    } catch {
      return null
    }
  }

  /** The admin's API answers if it rejects a request without a session. */
  async #describeAdminApi() {
    const answer = await this.#request("/admin/users/me", {})
    await answer?.body?.cancel().catch(() => undefined)
    return answer?.status === 401 ? "ok" : "failing"
  }

  /** An empty product list is healthy, and so is the rejection of a request without a valid key. */
  async #describeStoreApi(/** @type {string | null} */ key) {
    const headers = key ? { "x-publishable-api-key": key } : {}
    const answer = await this.#request("/store/products?limit=1&fields=id", headers)
    if (!answer) return "failing"
    const body = await answer.json().catch(() => null)
    const isList = answer.status === 200 && Array.isArray(body?.products)
    const isRejected = answer.status === 400 && REJECTED_KEY.test(body?.message ?? "")
    return isList || isRejected ? "ok" : "failing"
  }

  /** @param {string} path @param {Record<string, string>} headers */
  async #request(path, headers) {
    return fetch(this.server + path, {
      headers: { "user-agent": "storefront", ...headers },
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    }).catch(() => null)
  }
}
