/**
 * `setup`: prepare the database for this version, then personalize it for this store. It is
 * idempotent and safe to kill at any point; servers of the previous version keep running meanwhile.
 */

import { spawn } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import { readConfiguration } from "./configuration.mjs"
import { writeLog } from "./logs.mjs"
import { isPrepared, markPrepared } from "./marks.mjs"
import { personalizeDatabase } from "./personalize.mjs"
import { runExclusively, withDatabase } from "./postgres.mjs"
import { HOME, hasSearchIndexes } from "./release.mjs"

const MIGRATION_TIMEOUT_MS = 240_000

export async function run() {
  const began = Date.now()
  const store = readConfiguration()
  await withDatabase(store.database, async (client) => {
    if (await isPrepared(client)) writeLog("info", "Tables and products exist already")
    else {
      await migrateDatabase()
      await markPrepared(client)
      writeLog("info", "Tables migrated")
    }
    await runExclusively(client, () => personalizeDatabase(client, store))
  })
  writeLog("info", "Set-up finished", { seconds: (Date.now() - began) / 1000 })
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
