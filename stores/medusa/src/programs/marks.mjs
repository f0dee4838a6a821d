/** What a store's database says of itself: whose it is, and which versions it has been prepared for. */

import { createHash } from "node:crypto"
import { readFileSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { HOME } from "./release.mjs"

const TABLES = `
  CREATE TABLE IF NOT EXISTS storefleet_versions (version text PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
  CREATE TABLE IF NOT EXISTS storefleet_store (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    store_id text NOT NULL, country text NOT NULL, at timestamptz NOT NULL DEFAULT now());`

/** A hash of all that decides what has to be in the database: another release may have the same. */
export function version() {
  const scripts = join(HOME, "src/migration-scripts")
  const files = readdirSync(scripts).sort().map((name) => join(scripts, name))
  const hash = createHash("sha256")
  for (const file of [join(HOME, "package-lock.json"), ...files]) hash.update(readFileSync(file))
  return hash.digest("hex").slice(0, 20)
}

/** Whether the tables of this version are there, whatever else has been. */
export async function isPrepared(/** @type {import("pg").Client} */ client) {
  await client.query(TABLES)
  const { rowCount } = await client.query("SELECT FROM storefleet_versions WHERE version = $1", [version()])
  return rowCount === 1
}

export async function markPrepared(/** @type {import("pg").Client} */ client) {
  await client.query(TABLES)
  await client.query("INSERT INTO storefleet_versions (version) VALUES ($1) ON CONFLICT DO NOTHING", [version()])
}

/** Whether a server of this version can begin: prepared, and somebody's. */
export async function isReady(/** @type {import("pg").Client} */ client) {
  const tables = await client.query("SELECT to_regclass('storefleet_store') IS NOT NULL AS made")
  if (!tables.rows[0].made) return false
  const { rows } = await client.query(
    `SELECT EXISTS (SELECT FROM storefleet_versions WHERE version = $1)
        AND EXISTS (SELECT FROM storefleet_store) AS ready`,
    [version()],
  )
  return rows[0].ready
}
