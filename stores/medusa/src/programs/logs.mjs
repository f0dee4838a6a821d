/** JSON log lines on standard output with the store's id; never a query string or a secret. */

import { stdout } from "node:process"

const ids = Object.fromEntries(
  [
    ["store_id", process.env.STORE_ID],
    ["operation_id", process.env.STORE_OPERATION_ID],
  ].filter(([, value]) => value),
)

/** @param {string} level @param {string} event @param {Record<string, unknown>} [fields] */
export function writeLog(level, event, fields) {
  const timestamp = new Date().toISOString()
  stdout.write(
    `${JSON.stringify({ timestamp, level, logger: "store", event, ...ids, ...fields })}\n`,
  )
}

/** Turn an error into an event with the traceback as a field. */
const describeError = (/** @type {unknown} */ error) =>
  error instanceof Error
    ? { event: error.message, fields: { exception: error.stack } }
    : { event: String(error) }

function logError(/** @type {unknown} */ data, /** @type {Error | undefined} */ error) {
  const { event, fields } = describeError(data)
  writeLog("error", event, error ? { exception: error.stack } : fields)
}

/** Medusa's logger interface, writing the same lines. Progress messages of its start are omitted. */
export const medusaLogger = {
  shouldLog: (/** @type {string} */ level) =>
    !["http", "verbose", "debug", "silly"].includes(level),
  setLogLevel() {},
  unsetLogLevel() {},
  activity: (/** @type {string} */ message) => message,
  progress() {},
  success: () => ({}),
  failure: (/** @type {string} */ activity, /** @type {string} */ message) =>
    logError(message || activity, undefined),
  error: logError,
  panic: (/** @type {unknown} */ data) => logError(data, undefined),
  warn: (/** @type {string} */ message) => writeLog("warning", String(message)),
  info: (/** @type {string} */ message) => writeLog("info", String(message)),
  log() {},
  http() {},
  verbose() {},
  debug() {},
  silly() {},
}
