/** Work on a PostgreSQL data folder while no server uses it. */

import { spawnSync } from "node:child_process"
import { join } from "node:path"

export const PROGRAMS = process.env.STORE_POSTGRES_PROGRAMS ?? "/opt/postgresql/bin"
/** Role and database of the store; `bake` creates both. */
export const ROLE = "store"
export const DATABASE = "store"
export const SUPERUSER = "postgres"
const TIMEOUT_MS = 120_000
const SINGLE_USER_OPTIONS = [
  ...["-c", "fsync=off"],
  ...["-c", "log_min_error_statement=panic"],
  ...["-c", "exit_on_error=on"],
]

/** Run a program to its end and return its output. */
export function runProgram(
  /** @type {string} */ program,
  /** @type {string[]} */ options,
  input = "",
) {
  const done = spawnSync(program, options, {
    input,
    encoding: "utf8",
    timeout: TIMEOUT_MS,
    maxBuffer: 16 << 20,
  })
  if (done.error) throw new Error(`${program} cannot be run (${done.error.message}).`)
  if (done.status !== 0 || done.stderr.includes("ERROR:")) {
    const message = done.stderr.trim().split("\n").at(-1) || "it printed no message"
    throw new Error(`${program} failed on the store's database (status ${done.status}): ${message}`)
  }
  return done.stdout
}

/**
 * Run SQL statements in PostgreSQL's single-user mode. They are passed on standard input, so that
 * no process list shows a password.
 */
export function runSingleUser(/** @type {string} */ data, /** @type {string[]} */ statements) {
  const script = statements.map((statement) => `${statement};\n`).join("")
  const options = ["--single", "-D", data, ...SINGLE_USER_OPTIONS, "template1"]
  runProgram(join(PROGRAMS, "postgres"), options, script)
}
