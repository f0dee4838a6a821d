/** Folders of PostgreSQL's, worked on while no server has them. */

import { spawnSync } from "node:child_process"
import { join } from "node:path"

export const PROGRAMS = process.env.STORE_POSTGRES_PROGRAMS ?? "/opt/postgresql/bin"
/** Role and database of the store; `bake` makes both. */
export const ROLE = "store"
export const DATABASE = "store"
export const SUPERUSER = "postgres"
const PATIENCE = 120_000
const ALONE = ["-c", "fsync=off", "-c", "log_min_error_statement=panic", "-c", "exit_on_error=on"]

/** Runs a program to its end. */
export function execute(/** @type {string} */ program, /** @type {string[]} */ options, input = "") {
  const done = spawnSync(program, options, { input, encoding: "utf8", timeout: PATIENCE, maxBuffer: 16 << 20 })
  if (done.error) throw new Error(`${program} could not be run (${done.error.message}).`)
  if (done.status !== 0 || done.stderr.includes("ERROR:")) {
    const words = done.stderr.trim().split("\n").at(-1) || "without a word"
    throw new Error(`${program} failed on the store's database (${done.status}): ${words}`)
  }
  return done.stdout
}

/** Statements on a cluster without a server; they are on its standard input, so in no list of processes. */
export function runAlone(/** @type {string} */ data, /** @type {string[]} */ statements) {
  const script = statements.map((statement) => `${statement};\n`).join("")
  execute(join(PROGRAMS, "postgres"), ["--single", "-D", data, ...ALONE, "template1"], script)
}
