/** What the tasks on a store's backups have in common: where dumps lie, how PostgreSQL's programs sign in, what is told. */

import { mkdtempSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { ConfigurationError, connection } from "./configuration.mjs"

const MESSAGE = process.env.STORE_TASK_MESSAGE ?? "/dev/termination-log"
const MESSAGE_LIMIT = 4096

/** The dump that is meant, by its files. */
export function dumpNamed() {
  const folder = process.env.STORE_BACKUPS_FOLDER ?? "/var/lib/storefleet/backups"
  const name = process.env.STOREFLEET_DUMP ?? ""
  if (!/^[A-Za-z0-9_-]{1,80}$/.test(name)) {
    throw new ConfigurationError("STOREFLEET_DUMP has to name a dump: letters, digits, - and _.")
  }
  return { folder, name, content: join(folder, `${name}.dump`), about: join(folder, `${name}.json`) }
}

/** Arguments and environment with which pg_dump and psql reach the database; the password is in a file of their own. */
export function signIn(/** @type {Record<string, any>} */ database) {
  const { host, port, user, password, database: name } = connection(database)
  const file = join(mkdtempSync(join(tmpdir(), "pass-")), "pgpass")
  const quoted = password.replace(/[\\:]/g, "\\$&")
  writeFileSync(file, `*:*:*:*:${quoted}\n`, { mode: 0o600 })
  return {
    options: [`--host=${host}`, `--port=${port}`, `--username=${user}`, "--no-password", `--dbname=${name}`],
    env: { ...process.env, PGPASSFILE: file, PGCONNECT_TIMEOUT: "10" },
  }
}

/** The outcome, where Kubernetes shows it with the container. */
export function tell(/** @type {Record<string, unknown>} */ outcome) {
  const text = JSON.stringify(outcome)
  if (text.length > MESSAGE_LIMIT) throw new Error(`The outcome is longer than ${MESSAGE_LIMIT} characters.`)
  writeFileSync(MESSAGE, text)
}
