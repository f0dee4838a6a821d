/** `dump`: the store's database as one file; there whole or not at all, and the newest few are kept. */

import { spawn } from "node:child_process"
import { once } from "node:events"
import { open, readFile, readdir, rename, rm, stat, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { PROGRAMS } from "./cluster.mjs"
import { dumpNamed, signIn, tell } from "./backups.mjs"
import { configuration } from "./configuration.mjs"
import { line } from "./lines.mjs"
import { withDatabase } from "./postgres.mjs"

const KEPT = 3

export async function run() {
  const dump = dumpNamed()
  const { database } = configuration()
  const known = await readFile(dump.about, "utf8").catch(() => null)
  const outcome = known ? JSON.parse(known) : await make(dump, database)
  await forget(dump)
  tell(outcome)
  line("info", known ? "this dump is there already" : "dumped", { ...outcome, dump: dump.name })
}

/** @param {ReturnType<typeof dumpNamed>} dump @param {Record<string, any>} database */
async function make(dump, database) {
  // The database's own clock, before the first byte is read: a later order is surely not in it.
  const { rows } = await withDatabase(database, (client) => client.query("SELECT now() AS at"))
  const fresh = `${dump.content}.new`
  const { options, env } = signIn(database)
  const rules = ["--format=custom", "--compress=4", "--no-owner", "--no-privileges", "--lock-wait-timeout=30s"]
  const child = spawn(join(PROGRAMS, "pg_dump"), [...options, ...rules, `--file=${fresh}`], {
    env,
    stdio: ["ignore", "inherit", "inherit"],
  })
  const [code] = await once(child, "exit")
  if (code !== 0) throw new Error(`pg_dump ended with ${code}; what it said is above. The task may be run again.`)
  await safe(fresh)
  await rename(fresh, dump.content)
  const outcome = { bytes: (await stat(dump.content)).size, at: rows[0].at.toISOString() }
  await writeFile(`${dump.about}.new`, JSON.stringify(outcome))
  await safe(`${dump.about}.new`)
  await rename(`${dump.about}.new`, dump.about)
  await safe(dump.folder)
  return outcome
}

async function safe(/** @type {string} */ path) {
  const handle = await open(path, "r")
  await handle.sync()
  await handle.close()
}

/** Older ones, and what interrupted tasks have left. */
async function forget(/** @type {ReturnType<typeof dumpNamed>} */ { folder, name }) {
  const names = await readdir(folder)
  const all = []
  for (const file of names.filter((each) => each.endsWith(".json"))) {
    const { at } = JSON.parse(await readFile(join(folder, file), "utf8"))
    all.push({ name: file.slice(0, -5), at })
  }
  const newest = all.sort((a, b) => b.at.localeCompare(a.at)).slice(0, KEPT).map((each) => each.name)
  const kept = new Set([name, ...newest])
  for (const file of names) {
    const [, stem, kind] = /^(.+?)\.(dump|json|dump\.new|json\.new)$/.exec(file) ?? []
    if (stem && (!kept.has(stem) || kind.endsWith(".new"))) await rm(join(folder, file), { force: true })
  }
}
