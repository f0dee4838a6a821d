/**
 * Tables with which a store's database records its own state: which versions it has been prepared
 * for, which store it belongs to, and the mails that it would have sent.
 */

import { createHash } from "node:crypto"
import { readFileSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { HOME } from "./release.mjs"

export const MAIL_TABLE = `
  CREATE TABLE IF NOT EXISTS storefleet_mails (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now(),
    sender text NOT NULL, recipients text[] NOT NULL, subject text NOT NULL, text_body text,
    html_body text);`

const TABLES = `
  CREATE TABLE IF NOT EXISTS storefleet_versions (
    version text PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
  CREATE TABLE IF NOT EXISTS storefleet_store (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    store_id text NOT NULL, country text NOT NULL, at timestamptz NOT NULL DEFAULT now());
  ${MAIL_TABLE}`

/**
 * Hash everything that determines the database's tables and initial rows. Two releases may have the
 * same hash.
 */
export function hashVersion() {
  version ??= computeHash()
  return version
}

/** @type {string | null} */
let version = null

function computeHash() {
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

/**
 * List what a database lacks for this release: the mark that its set-up has finished, and migrations
 * of Medusa. A newer release's migrations do no harm.
 *
 * @param {{ query: (sql: string, values: unknown[]) => Promise<{ rows: any[] }> }} client
 * @param {string[]} needed
 * @returns {Promise<string[]>}
 */
export async function readPending(client, needed) {
  const { rows } = await client.query(
    `SELECT name FROM unnest($1::text[]) AS needed (name)
      WHERE name NOT IN (SELECT name FROM mikro_orm_migrations WHERE name IS NOT NULL)
     UNION ALL
     SELECT 'set-up' WHERE NOT EXISTS (SELECT FROM storefleet_versions WHERE version = $2)`,
    [needed, hashVersion()],
  )
  return rows.map(({ name }) => name)
}
