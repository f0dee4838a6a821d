/**
 * `setup`: prepare the database for this version, and make it this store's. It ends with the same database however often
 * it is run, and wherever an earlier run was ended; servers of the version before go on meanwhile.
 */

import { spawn } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import { configuration } from "./configuration.mjs"
import { line } from "./lines.mjs"
import { isPrepared, markPrepared } from "./marks.mjs"
import { makeOwn } from "./own.mjs"
import { alone, withDatabase } from "./postgres.mjs"
import { HOME, hasSearch } from "./release.mjs"

const PATIENCE = 240_000

export async function run() {
  const began = Date.now()
  const store = configuration()
  await withDatabase(store.database, async (client) => {
    if (await isPrepared(client)) line("info", "tables and goods are there already")
    else {
      await migrate()
      await markPrepared(client)
      line("info", "tables are those of this version")
    }
    await alone(client, () => makeOwn(client, store))
  })
  line("info", "set up", { seconds: (Date.now() - began) / 1000 })
}

/** Medusa's own migrations, and those changes of links and search indexes that lose nothing. */
export async function migrate() {
  const cli = join(HOME, "node_modules/@medusajs/cli/cli.js")
  const options = ["db:migrate", "--execute-safe-links"]
  if (hasSearch()) options.push("--execute-safe-search")
  const child = spawn(process.execPath, [cli, ...options], {
    cwd: HOME,
    stdio: ["ignore", "inherit", "inherit"],
    signal: AbortSignal.timeout(PATIENCE),
  })
  const [code] = await once(child, "exit")
  if (code !== 0) {
    throw new Error(`Medusa's migrations ended with ${code}; what they said is above. The set-up may be run again.`)
  }
  await checkScripts()
}

/** Medusa ends with 0 when a script of its migrations failed. */
async function checkScripts() {
  const { database } = configuration()
  const { rows } = await withDatabase(database, (client) =>
    client.query("SELECT script_name FROM script_migrations WHERE finished_at IS NULL ORDER BY 1"),
  )
  const open = rows.map((row) => row.script_name)
  if (open.length) {
    throw new Error(`These migrations were not finished: ${open.join(", ")}. Read what they said above, then retry.`)
  }
}
