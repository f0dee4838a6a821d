/** Shared by the backup tasks: locate a dump, prepare PostgreSQL's programs, write the result. */

import { mkdtempSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { ConfigurationError, buildConnectionOptions } from "./configuration.mjs"

const MESSAGE_FILE = process.env.STORE_TASK_MESSAGE ?? "/dev/termination-log"
const MESSAGE_LENGTH_MAX = 4096

/** Return the paths of the dump that STOREFLEET_DUMP names: its content and its metadata. */
export function locateDump() {
  const folder = process.env.STORE_BACKUPS_FOLDER ?? "/var/lib/storefleet/backups"
  const name = process.env.STOREFLEET_DUMP ?? ""
  if (!/^[A-Za-z0-9_-]{1,80}$/.test(name)) {
    throw new ConfigurationError(
      "STOREFLEET_DUMP is not a valid name of a dump. Use letters, digits, - and _.",
    )
  }
  return {
    folder,
    name,
    content: join(folder, `${name}.dump`),
    metadata: join(folder, `${name}.json`),
  }
}

/**
 * Build arguments and environment with which pg_dump and psql reach the database. The password is
 * written to a private file.
 */
export function prepareClient(/** @type {Record<string, any>} */ database) {
  const { host, port, user, password, database: name } = buildConnectionOptions(database)
  const file = join(mkdtempSync(join(tmpdir(), "pass-")), "pgpass")
  const quoted = password.replace(/[\\:]/g, "\\$&")
  writeFileSync(file, `*:*:*:*:${quoted}\n`, { mode: 0o600 })
  return {
    options: [
      `--host=${host}`,
      `--port=${port}`,
      `--username=${user}`,
      "--no-password",
      `--dbname=${name}`,
    ],
    env: { ...process.env, PGPASSFILE: file, PGCONNECT_TIMEOUT: "10" },
  }
}

/** Write the task's result to the container's termination message, where the platform reads it. */
export function writeResult(/** @type {Record<string, unknown>} */ result) {
  const text = JSON.stringify(result)
  if (text.length > MESSAGE_LENGTH_MAX) {
    throw new Error(`The result is longer than ${MESSAGE_LENGTH_MAX} characters.`)
  }
  writeFileSync(MESSAGE_FILE, text)
}
