/**
 * `database`: the PostgreSQL server of one store, in a container of its own. The first start does
 * not run initdb: it copies the cluster that the image carries, which already has tables and sample
 * products, and sets the password of the store's role.
 */

import { existsSync, mkdirSync, openSync, closeSync, fsyncSync, renameSync, rmSync } from "node:fs"
import { join } from "node:path"
import { ConfigurationError, readSecret } from "./configuration.mjs"
import { PROGRAMS, ROLE, runProgram, runSingleUser } from "./cluster.mjs"

export async function run() {
  const folder = readPathVariable("STORE_DATABASE_FOLDER")
  const settings = readPathVariable("STORE_DATABASE_SETTINGS")
  const data = join(folder, "data")
  if (!existsSync(data)) createCluster(folder, data)
  const program = join(PROGRAMS, "postgres")
  const files = { config_file: "postgresql.conf", hba_file: "pg_hba.conf" }
  const options = Object.entries(files).map(([name, file]) => `--${name}=${join(settings, file)}`)
  // PostgreSQL replaces this process.
  process.execve(program, [program, "-D", data, ...options], process.env)
}

/** Build the data folder aside, flush and rename it, so that an interrupted copy is never used. */
function createCluster(/** @type {string} */ folder, /** @type {string} */ data) {
  const passwordFile = readPathVariable("STORE_DATABASE_PASSWORD_FILE")
  const password = readSecret(passwordFile, "the database's password")
  const fresh = join(folder, "data.new")
  rmSync(fresh, { recursive: true, force: true })
  mkdirSync(fresh, { mode: 0o700 })
  const cluster = readPathVariable("STORE_DATABASE_CLUSTER")
  runProgram("tar", ["--extract", `--file=${cluster}`, `--directory=${fresh}`, "--no-same-owner"])
  runSingleUser(fresh, [`ALTER ROLE ${ROLE} PASSWORD '${password.replaceAll("'", "''")}'`])
  runProgram(join(PROGRAMS, "initdb"), ["--sync-only", "-D", fresh])
  renameSync(fresh, data)
  const handle = openSync(folder, "r")
  fsyncSync(handle)
  closeSync(handle)
}

function readPathVariable(/** @type {string} */ variable) {
  const value = process.env[variable]
  if (!value) throw new ConfigurationError(`${variable} does not name a file or folder.`)
  return value
}
