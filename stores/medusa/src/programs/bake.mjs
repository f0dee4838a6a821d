/**
 * `bake`: build the PostgreSQL cluster that an image carries, with Medusa's tables and the sample
 * products. It runs during the image build, with the image's own programs and a server on a private
 * Unix socket.
 */

import { spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { once } from "node:events"
import { ConfigurationError, readConfiguration } from "./configuration.mjs"
import { DATABASE, PROGRAMS, ROLE, SUPERUSER, runProgram, runSingleUser } from "./cluster.mjs"
import { markPrepared } from "./marks.mjs"
import { withDatabase } from "./postgres.mjs"
import { migrateDatabase } from "./setup.mjs"

const INITDB_OPTIONS = [
  ...["--auth=reject", `--username=${SUPERUSER}`, "--no-instructions", "--no-sync"],
  ...["--encoding=UTF8", "--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"],
  "--wal-segsize=4", // a store writes little, and its first start copies one segment
]
const SERVER_SETTINGS = {
  listen_addresses: "",
  fsync: "off",
  io_method: "sync",
  autovacuum: "off",
  wal_level: "minimal",
  wal_recycle: "off", // recycled segments would be part of every copy
  max_wal_senders: "0",
  min_wal_size: "8MB",
  max_wal_size: "64MB",
  dynamic_shared_memory_type: "mmap", // a build environment may lack /dev/shm
}

export async function run() {
  const target = process.env.STORE_BAKE_FOLDER
  if (!target) {
    throw new ConfigurationError("STORE_BAKE_FOLDER is not set. Set it to the folder to fill.")
  }
  const work = mkdtempSync(join(tmpdir(), "bake-"))
  try {
    const data = join(work, "data")
    runProgram(join(PROGRAMS, "initdb"), ["-D", data, ...INITDB_OPTIONS])
    runSingleUser(data, [
      `CREATE ROLE ${ROLE} LOGIN`,
      `CREATE DATABASE ${DATABASE} OWNER ${ROLE} TEMPLATE template0`,
      `REVOKE ALL ON DATABASE ${DATABASE} FROM PUBLIC`,
      "DROP DATABASE postgres", // part of the bytes that every store's first start copies
    ])
    await fillDatabase(work, data)
    packCluster(data, join(work, "cluster.tar"))
    mkdirSync(target, { recursive: true })
    runProgram("cp", [join(work, "cluster.tar"), join(target, "cluster.tar.new")])
    renameSync(join(target, "cluster.tar.new"), join(target, "cluster.tar"))
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

async function fillDatabase(/** @type {string} */ work, /** @type {string} */ data) {
  writeFileSync(join(work, "hba.conf"), "local all all trust\n")
  const settings = {
    ...SERVER_SETTINGS,
    unix_socket_directories: work,
    hba_file: join(work, "hba.conf"),
  }
  const options = Object.entries(settings).map(([name, value]) => `--${name}=${value}`)
  const server = spawn(join(PROGRAMS, "postgres"), ["-D", data, ...options], {
    stdio: ["ignore", "inherit", "inherit"],
  })
  try {
    process.env.STORE_CONFIG = writeConfiguration(work)
    const { database } = readConfiguration()
    await withDatabase(database, async () => undefined) // wait for its start
    await migrateDatabase()
    await withDatabase(database, async (client) => {
      await markPrepared(client)
      await client.query("VACUUM (FULL, ANALYZE)")
    })
  } finally {
    server.kill("SIGINT")
    if (server.exitCode === null) await once(server, "exit")
  }
}

function writeConfiguration(/** @type {string} */ work) {
  const path = join(work, "store.json")
  for (const name of ["jwt", "cookie"]) {
    writeFileSync(join(work, name), randomBytes(32).toString("hex"), { mode: 0o600 })
  }
  const content = {
    store_id: "template",
    name: "template",
    host: "template.localhost",
    url: "http://template.localhost/",
    database: { host: work, port: 5432, name: DATABASE, user: ROLE },
    jwt_secret_file: join(work, "jwt"),
    cookie_secret_file: join(work, "cookie"),
    parameters: {},
    data_dir: work,
  }
  writeFileSync(path, JSON.stringify(content))
  return path
}

/** Pack the cluster without owners, so that the user who unpacks it becomes the owner. */
function packCluster(/** @type {string} */ data, /** @type {string} */ target) {
  const withoutOwner = ["--owner=0", "--group=0", "--numeric-owner", "--sort=name"]
  runProgram("tar", ["--create", `--file=${target}`, `--directory=${data}`, ...withoutOwner, "."])
}
