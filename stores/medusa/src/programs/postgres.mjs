/** The one door to the store's database for what is not Medusa itself: patient while it starts, and then plain SQL. */

import { setTimeout as pause } from "node:timers/promises"
import pg from "pg"
import { connection } from "./configuration.mjs"

/** There was no answer for as long as is waited for one; another try may do. */
export class DatabaseAway extends Error {}

const EVERY = 100
/** It refuses, its name is not known yet, it starts or stops: not wrong passwords, which stay wrong. */
const PASSING = new Set(["ECONNREFUSED", "ECONNRESET", "ENOENT", "ENOTFOUND", "EAI_AGAIN", "ETIMEDOUT", "57P03", "57P01"])

/**
 * @template T
 * @param {Record<string, any>} database
 * @param {(client: import("pg").Client) => Promise<T>} work
 * @param {number} [patience] seconds to wait for its first answer
 * @returns {Promise<T>}
 */
export async function withDatabase(database, work, patience = 90) {
  const client = await connected(database, patience)
  try {
    return await work(client)
  } finally {
    await client.end().catch(() => undefined)
  }
}

async function connected(/** @type {Record<string, any>} */ database, /** @type {number} */ patience) {
  const deadline = Date.now() + patience * 1000
  for (;;) {
    const client = new pg.Client(connection(database))
    client.on("error", () => undefined) // the query that waits fails, too, and says so
    try {
      await client.connect()
      return client
    } catch (error) {
      const passes = PASSING.has(error.code) || /timeout|terminated/.test(error.message)
      if (!passes || Date.now() > deadline) {
        throw new DatabaseAway(
          `The database at ${database.host}:${database.port} does not answer (${error.message || error.code}): ` +
            "look at its own log. This may be run again at any time.",
        )
      }
      await pause(EVERY)
    }
  }
}

/** One transaction, alone with itself in the database: no two set-ups or tasks are in one at the same time. */
export async function alone(/** @type {import("pg").Client} */ client, /** @type {() => Promise<void>} */ work) {
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
