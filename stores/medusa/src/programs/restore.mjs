/**
 * `restore`: replace the database's content by a dump, in one transaction. If it fails, the
 * database is unchanged. It may be run again.
 */

import { spawn } from "node:child_process"
import { once } from "node:events"
import { stat } from "node:fs/promises"
import { join } from "node:path"
import { PROGRAMS } from "./cluster.mjs"
import { locateDump, prepareClient, writeResult } from "./backups.mjs"
import { ConfigurationError, readConfiguration } from "./configuration.mjs"
import { writeLog } from "./logs.mjs"
import { withDatabase } from "./postgres.mjs"

const BEGIN = `\\set ON_ERROR_STOP on
SET client_min_messages = warning;
BEGIN;
SET LOCAL lock_timeout = '60s';
DROP SCHEMA public CASCADE;
CREATE SCHEMA public;
`

export async function run() {
  const dump = locateDump()
  const { database } = readConfiguration()
  const content = await stat(dump.content).catch(() => null)
  const metadata = await stat(dump.metadata).catch(() => null)
  if (!content || !metadata) {
    throw new ConfigurationError(
      `The dump ${dump.name} does not exist. Only the newest three are kept. Roll back without it.`,
    )
  }
  await withDatabase(database, async () => undefined) // wait until it answers
  await restoreDump(dump.content, database)
  writeResult({ bytes: content.size })
  writeLog("info", "Dump restored", { bytes: content.size, dump: dump.name })
}

/** Feed pg_restore's script to psql; only a complete script is followed by COMMIT. */
async function restoreDump(
  /** @type {string} */ content,
  /** @type {Record<string, any>} */ database,
) {
  const { options, env } = prepareClient(database)
  const psql = spawn(join(PROGRAMS, "psql"), [...options, "--quiet", "--no-psqlrc", "--file=-"], {
    env,
    stdio: ["pipe", "ignore", "inherit"],
  })
  const script = ["--no-owner", "--no-privileges", "--file=-", content]
  const reader = spawn(join(PROGRAMS, "pg_restore"), script, {
    stdio: ["ignore", "pipe", "inherit"],
  })
  const psqlExit = once(psql, "exit")
  psql.stdin.on("error", () => undefined) // psql has ended; its exit status tells how
  psql.stdin.write(BEGIN)
  reader.stdout.pipe(psql.stdin, { end: false })
  const [[readCode], isDrained] = await Promise.all([
    once(reader, "exit"),
    once(reader.stdout, "end").then(() => true),
  ])
  psql.stdin.end(readCode === 0 && isDrained ? "COMMIT;\n" : "ROLLBACK;\n")
  const [code] = await psqlExit
  if (readCode !== 0) {
    throw new Error(
      `pg_restore failed with status ${readCode}. Its messages are above. Nothing was changed.`,
    )
  }
  if (code !== 0) {
    throw new Error(
      `psql failed with status ${code}. Its messages are above. Nothing was changed. Try again.`,
    )
  }
}
