/** JSON lines on standard output, each with the store's id; never a query or a secret. */

import { stdout } from "node:process"

const ids = Object.fromEntries(
  [["store_id", process.env.STORE_ID], ["operation_id", process.env.STORE_OPERATION_ID]].filter(([, value]) => value),
)

/** @param {string} level @param {string} event @param {Record<string, unknown>} [fields] */
export function line(level, event, fields) {
  const timestamp = new Date().toISOString()
  stdout.write(`${JSON.stringify({ timestamp, level, logger: "shop", event, ...ids, ...fields })}\n`)
}

/** A traceback is a field of its line. */
const told = (/** @type {unknown} */ error) =>
  error instanceof Error ? { event: error.message, fields: { exception: error.stack } } : { event: String(error) }

function failed(/** @type {unknown} */ data, /** @type {Error | undefined} */ error) {
  const first = told(data)
  line("error", first.event, error ? { exception: error.stack } : first.fields)
}

/** Medusa's door to the same lines; what it says of each step of its start is left out. */
export const medusaLogger = {
  shouldLog: (/** @type {string} */ level) => !["http", "verbose", "debug", "silly"].includes(level),
  setLogLevel() {},
  unsetLogLevel() {},
  activity: (/** @type {string} */ message) => message,
  progress() {},
  success: () => ({}),
  failure: (/** @type {string} */ activity, /** @type {string} */ message) => failed(message || activity, undefined),
  error: failed,
  panic: (/** @type {unknown} */ data) => failed(data, undefined),
  warn: (/** @type {string} */ message) => line("warning", String(message)),
  info: (/** @type {string} */ message) => line("info", String(message)),
  log() {},
  http() {},
  verbose() {},
  debug() {},
  silly() {},
}
