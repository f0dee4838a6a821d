/** `dump`: write the store's database to one file atomically; the newest three dumps are kept. */

import { spawn } from "node:child_process"
import { once } from "node:events"
import { open, readFile, readdir, rename, rm, stat, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { PROGRAMS } from "./cluster.mjs"
import { locateDump, prepareClient, writeResult } from "./backups.mjs"
import { readConfiguration } from "./configuration.mjs"
import { writeLog } from "./logs.mjs"
import { withDatabase } from "./postgres.mjs"

const KEPT_DUMPS = 3

export async function run() {
  const dump = locateDump()
  const { database } = readConfiguration()
  const known = await readFile(dump.metadata, "utf8").catch(() => null)
  const result = known ? JSON.parse(known) : await createDump(dump, database)
  await deleteOldDumps(dump)
  writeResult(result)
  writeLog("info", known ? "Dump exists already" : "Dump created", { ...result, dump: dump.name })
}

/** @param {ReturnType<typeof locateDump>} dump @param {Record<string, any>} database */
async function createDump(dump, database) {
  // The time is read from the database before the dump starts: no later order can be in the dump.
  const { rows } = await withDatabase(database, (client) => client.query("SELECT now() AS at"))
  const fresh = `${dump.content}.new`
  const { options, env } = prepareClient(database)
  const rules = [
    ...["--format=custom", "--compress=4", "--no-owner", "--no-privileges"],
    "--lock-wait-timeout=30s",
  ]
  const child = spawn(join(PROGRAMS, "pg_dump"), [...options, ...rules, `--file=${fresh}`], {
    env,
    stdio: ["ignore", "inherit", "inherit"],
  })
  const [code] = await once(child, "exit")
  if (code !== 0) {
    throw new Error(
      `pg_dump failed with status ${code}. Its messages are above. Run the task again.`,
    )
  }
  await syncToDisk(fresh)
  await rename(fresh, dump.content)
  const result = { bytes: (await stat(dump.content)).size, at: rows[0].at.toISOString() }
  await writeFile(`${dump.metadata}.new`, JSON.stringify(result))
  await syncToDisk(`${dump.metadata}.new`)
  await rename(`${dump.metadata}.new`, dump.metadata)
  await syncToDisk(dump.folder)
  return result
}

async function syncToDisk(/** @type {string} */ path) {
  const handle = await open(path, "r")
  await handle.sync()
  await handle.close()
}

/** Delete older dumps, and the files that interrupted tasks left. */
async function deleteOldDumps(/** @type {ReturnType<typeof locateDump>} */ { folder, name }) {
  const names = await readdir(folder)
  const dumps = []
  for (const file of names.filter((each) => each.endsWith(".json"))) {
    const { at } = JSON.parse(await readFile(join(folder, file), "utf8"))
    dumps.push({ name: file.slice(0, -5), at })
  }
  const newest = dumps.sort((a, b) => b.at.localeCompare(a.at)).slice(0, KEPT_DUMPS)
  const kept = new Set([name, ...newest.map((each) => each.name)])
  for (const file of names) {
    const [, stem, kind] = /^(.+?)\.(dump|json|dump\.new|json\.new)$/.exec(file) ?? []
    if (stem && (!kept.has(stem) || kind.endsWith(".new"))) {
      await rm(join(folder, file), { force: true })
    }
  }
}
