/**
 * `database`: the PostgreSQL server of one store, in a container of its own. Its first start makes no cluster but copies the
 * one that the image carries, in which tables and goods are, and gives the store's role its password.
 */

import { existsSync, mkdirSync, openSync, closeSync, fsyncSync, renameSync, rmSync } from "node:fs"
import { join } from "node:path"
import { ConfigurationError, secret } from "./configuration.mjs"
import { PROGRAMS, ROLE, execute, runAlone } from "./cluster.mjs"

export async function run() {
  const folder = named("STORE_DATABASE_FOLDER")
  const settings = named("STORE_DATABASE_SETTINGS")
  const data = join(folder, "data")
  if (!existsSync(data)) make(folder, data)
  const program = join(PROGRAMS, "postgres")
  const files = { config_file: "postgresql.conf", hba_file: "pg_hba.conf" }
  const options = Object.entries(files).map(([name, file]) => `--${name}=${join(settings, file)}`)
  // It takes this process's place.
  process.execve(program, [program, "-D", data, ...options], process.env)
}

/** Beside its place, and moved there whole and safe on the disk: an interrupted one is never used. */
function make(/** @type {string} */ folder, /** @type {string} */ data) {
  const word = secret(named("STORE_DATABASE_PASSWORD_FILE"), "the database's password")
  const fresh = join(folder, "data.new")
  rmSync(fresh, { recursive: true, force: true })
  mkdirSync(fresh, { mode: 0o700 })
  const cluster = named("STORE_DATABASE_CLUSTER")
  execute("tar", ["--extract", `--file=${cluster}`, `--directory=${fresh}`, "--no-same-owner"])
  runAlone(fresh, [`ALTER ROLE ${ROLE} PASSWORD '${word.replaceAll("'", "''")}'`])
  execute(join(PROGRAMS, "initdb"), ["--sync-only", "-D", fresh])
  renameSync(fresh, data)
  const handle = openSync(folder, "r")
  fsyncSync(handle)
  closeSync(handle)
}

function named(/** @type {string} */ variable) {
  const value = process.env[variable]
  if (!value) throw new ConfigurationError(`${variable} names no file or folder.`)
  return value
}
