/** `restore`: put a dump back in one transaction: the database is the dump's, or as it was. It may be run again. */

import { spawn } from "node:child_process"
import { once } from "node:events"
import { stat } from "node:fs/promises"
import { join } from "node:path"
import { PROGRAMS } from "./cluster.mjs"
import { dumpNamed, signIn, tell } from "./backups.mjs"
import { ConfigurationError, configuration } from "./configuration.mjs"
import { line } from "./lines.mjs"
import { withDatabase } from "./postgres.mjs"

const BEGIN = `\\set ON_ERROR_STOP on
SET client_min_messages = warning;
BEGIN;
SET LOCAL lock_timeout = '60s';
DROP SCHEMA public CASCADE;
CREATE SCHEMA public;
`

export async function run() {
  const dump = dumpNamed()
  const { database } = configuration()
  const found = await stat(dump.content).catch(() => null)
  const whole = await stat(dump.about).catch(() => null)
  if (!found || !whole) {
    throw new ConfigurationError(`There is no dump ${dump.name}: only the newest few are kept. Roll back without it.`)
  }
  await withDatabase(database, async () => undefined) // it answers
  await putBack(dump.content, database)
  tell({ bytes: found.size })
  line("info", "restored", { bytes: found.size, dump: dump.name })
}

/** Only a script that came to its end is committed. */
async function putBack(/** @type {string} */ content, /** @type {Record<string, any>} */ database) {
  const { options, env } = signIn(database)
  const stdio = /** @type {const} */ (["pipe", "ignore", "inherit"])
  const psql = spawn(join(PROGRAMS, "psql"), [...options, "--quiet", "--no-psqlrc", "--file=-"], { env, stdio: [...stdio] })
  const script = ["--no-owner", "--no-privileges", "--file=-", content]
  const reader = spawn(join(PROGRAMS, "pg_restore"), script, { stdio: ["ignore", "pipe", "inherit"] })
  const ended = once(psql, "exit")
  psql.stdin.on("error", () => undefined) // it has ended, and its exit status says how
  psql.stdin.write(BEGIN)
  reader.stdout.pipe(psql.stdin, { end: false })
  const [[read], [drained]] = await Promise.all([once(reader, "exit"), once(reader.stdout, "end").then(() => [true])])
  psql.stdin.end(read === 0 && drained ? "COMMIT;\n" : "ROLLBACK;\n")
  const [code] = await ended
  if (read !== 0) throw new Error(`pg_restore ended with ${read}; what it said is above. Nothing was changed.`)
  if (code !== 0) throw new Error(`psql ended with ${code}; what it said is above. Nothing was changed; try again.`)
}
