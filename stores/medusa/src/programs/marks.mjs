/**
 * Tables with which a store's database records its own state: which versions it has been prepared
 * for, and which store it belongs to.
 */

import { createHash } from "node:crypto"
import { readFileSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { HOME } from "./release.mjs"

const TABLES = `
  CREATE TABLE IF NOT EXISTS storefleet_versions (
    version text PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
  CREATE TABLE IF NOT EXISTS storefleet_store (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    store_id text NOT NULL, country text NOT NULL, at timestamptz NOT NULL DEFAULT now());`

/**
 * Hash everything that determines the database's tables and initial rows. Two releases may have the
 * same hash.
 */
export function hashVersion() {
  const scripts = join(HOME, "src/migration-scripts")
  const files = readdirSync(scripts)
    .sort()
    .map((name) => join(scripts, name))
  const hash = createHash("sha256")
  for (const file of [join(HOME, "package-lock.json"), ...files]) hash.update(readFileSync(file))
  return hash.digest("hex").slice(0, 20)
}

/** Check whether the database has been prepared for this version. */
export async function isPrepared(/** @type {import("pg").Client} */ client) {
  await client.query(TABLES)
  const query = "SELECT FROM storefleet_versions WHERE version = $1"
  const { rowCount } = await client.query(query, [hashVersion()])
  return rowCount === 1
}

/** Record that the database has been prepared for this version. */
export async function markPrepared(/** @type {import("pg").Client} */ client) {
  await client.query(TABLES)
  const statement = "INSERT INTO storefleet_versions (version) VALUES ($1) ON CONFLICT DO NOTHING"
  await client.query(statement, [hashVersion()])
}

/** Check whether a server of this version can start: prepared, and assigned to a store. */
export async function isReady(/** @type {import("pg").Client} */ client) {
  const tables = await client.query("SELECT to_regclass('storefleet_store') IS NOT NULL AS made")
  if (!tables.rows[0].made) return false
  const { rows } = await client.query(
    `SELECT EXISTS (SELECT FROM storefleet_versions WHERE version = $1)
        AND EXISTS (SELECT FROM storefleet_store) AS ready`,
    [hashVersion()],
  )
  return rows[0].ready
}
