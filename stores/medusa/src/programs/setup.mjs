/**
 * `setup`: prepare the database for this version. In the mode `install` (a creation) also turn the
 * copied database into this store's own; the mode `update` (an upgrade or rollback) changes nothing
 * that the store's owner can set. It is idempotent and safe to kill at any point; servers of the
 * previous version keep running meanwhile.
 */

import { spawn } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import { ConfigurationError, readConfiguration } from "./configuration.mjs"
import { writeLog } from "./logs.mjs"
import { isPrepared, isReady, markPrepared } from "./marks.mjs"
import { personalizeDatabase } from "./personalize.mjs"
import { runExclusively, withDatabase } from "./postgres.mjs"
import { HOME, hasSearchIndexes } from "./release.mjs"

const MIGRATION_TIMEOUT_MS = 240_000
const MODES = ["install", "update"]

export async function run() {
  const began = Date.now()
  const store = readConfiguration()
  const mode = process.env.STORE_SETUP_MODE ?? "install"
  if (!MODES.includes(mode)) {
    throw new ConfigurationError(`STORE_SETUP_MODE is “${mode}”. Set it to ${MODES.join(" or ")}.`)
  }
  await withDatabase(store.database, async (client) => {
    if (await isPrepared(client)) writeLog("info", "Tables and products exist already")
    else {
      await migrateDatabase()
      await markPrepared(client)
      writeLog("info", "Tables migrated")
    }
    if (mode === "install") await runExclusively(client, () => personalizeDatabase(client, store))
    else if (!(await isReady(client))) {
      throw new ConfigurationError(
        "The database belongs to no store: its creation has not finished. Retry the creation.",
      )
    }
  })
  writeLog("info", "Set-up finished", { mode, seconds: (Date.now() - began) / 1000 })
}

/** Run Medusa's migrations, and those changes of links and search indexes that lose no data. */
export async function migrateDatabase() {
  const cli = join(HOME, "node_modules/@medusajs/cli/cli.js")
  const options = ["db:migrate", "--execute-safe-links"]
  if (hasSearchIndexes()) options.push("--execute-safe-search")
  const child = spawn(process.execPath, [cli, ...options], {
    cwd: HOME,
    stdio: ["ignore", "inherit", "inherit"],
    signal: AbortSignal.timeout(MIGRATION_TIMEOUT_MS),
  })
  const [code] = await once(child, "exit")
  if (code !== 0) {
    throw new Error(
      `Medusa's migrations failed with status ${code}. Their messages are above. ` +
        "Run the set-up again.",
    )
  }
  await checkMigrationScripts()
}

/** Fail if a migration script did not finish: Medusa exits with 0 even then. */
async function checkMigrationScripts() {
  const { database } = readConfiguration()
  const { rows } = await withDatabase(database, (client) =>
    client.query("SELECT script_name FROM script_migrations WHERE finished_at IS NULL ORDER BY 1"),
  )
  const unfinished = rows.map((row) => row.script_name)
  if (unfinished.length) {
    throw new Error(
      `These migration scripts did not finish: ${unfinished.join(", ")}. ` +
        "Read their messages above and retry.",
    )
  }
}
