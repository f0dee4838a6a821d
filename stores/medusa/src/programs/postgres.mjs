/** Adapter to the store's database for our own SQL; Medusa has its own connections. */

import { setTimeout as pause } from "node:timers/promises"
import pg from "pg"
import { buildConnectionOptions } from "./configuration.mjs"

/** The database did not answer within the timeout; a retry may succeed. */
export class DatabaseUnavailable extends Error {}

const RETRY_INTERVAL_MS = 100
/**
 * Connection refused, name not resolvable yet, server starting or stopping. A wrong password is not
 * here: it stays wrong.
 */
const TRANSIENT_CODES = new Set([
  ...["ECONNREFUSED", "ECONNRESET", "ENOENT", "ENOTFOUND", "EAI_AGAIN", "ETIMEDOUT"],
  ...["57P03", "57P01"],
])

/**
 * Connect, run `work` with the client, and disconnect.
 *
 * @template T
 * @param {Record<string, any>} database
 * @param {(client: import("pg").Client) => Promise<T>} work
 * @param {number} [timeoutSeconds] how long to retry until the database answers
 * @returns {Promise<T>}
 */
export async function withDatabase(database, work, timeoutSeconds = 90) {
  const client = await connectWithRetries(database, timeoutSeconds)
  try {
    return await work(client)
  } finally {
    await client.end().catch(() => undefined)
  }
}

async function connectWithRetries(
  /** @type {Record<string, any>} */ database,
  /** @type {number} */ timeoutSeconds,
) {
  const deadline = Date.now() + timeoutSeconds * 1000
  for (;;) {
    const client = new pg.Client(buildConnectionOptions(database))
    client.on("error", () => undefined) // the pending query fails, too, and reports the error
    try {
      await client.connect()
      return client
    } catch (error) {
      const isTransient =
        TRANSIENT_CODES.has(error.code) || /timeout|terminated/.test(error.message)
      if (!isTransient || Date.now() > deadline) {
        throw new DatabaseUnavailable(
          `The database at ${database.host}:${database.port} does not answer ` +
            `(${error.message || error.code}). ` +
            "Look at the log of the database. This may be run again at any time.",
        )
      }
      await pause(RETRY_INTERVAL_MS)
    }
  }
}

/**
 * Open a pool that connects when it is used, and again after the database was unavailable.
 *
 * @param {Record<string, any>} database
 * @param {{ max: number, timeoutMs: number }} limits connections, and how long one query may take
 */
export function openPool(database, { max, timeoutMs }) {
  const pool = new pg.Pool({
    ...buildConnectionOptions(database),
    max,
    connectionTimeoutMillis: timeoutMs,
    query_timeout: timeoutMs,
    statement_timeout: timeoutMs,
  })
  pool.on("error", () => undefined) // an idle connection was lost; the next query connects again
  return pool
}

/** Run `work` in a transaction that no other set-up or task of this database overlaps. */
export async function runExclusively(
  /** @type {import("pg").Client} */ client,
  /** @type {() => Promise<void>} */ work,
) {
  await client.query("BEGIN")
  try {
    await client.query("SELECT pg_advisory_xact_lock(hashtext('storefleet'))")
    await work()
    await client.query("COMMIT")
  } catch (error) {
    await client.query("ROLLBACK").catch(() => undefined)
    throw error
  }
}
