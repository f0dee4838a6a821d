/**
 * The image's command line: `node main.mjs serve`, and so on. The exit status is 2 if a retry would
 * fail in the same way, 1 for any other error.
 */

import { ConfigurationError } from "./configuration.mjs"
import { writeLog } from "./logs.mjs"

/** @type {Record<string, () => Promise<{ run: () => Promise<void> | void }>>} */
const PROGRAMS = {
  serve: () => import("./serve.mjs"),
  setup: () => import("./setup.mjs"),
  database: () => import("./database.mjs"),
  bake: () => import("./bake.mjs"),
  dump: () => import("./dump.mjs"),
  restore: () => import("./restore.mjs"),
  orders: () => import("./orders.mjs"),
}

const name = process.argv[2] ?? "serve"
try {
  if (!Object.hasOwn(PROGRAMS, name)) {
    const names = Object.keys(PROGRAMS).join(", ")
    throw new ConfigurationError(`The program “${name}” does not exist. Use one of: ${names}.`)
  }
  await (await PROGRAMS[name]()).run()
} catch (error) {
  const isPermanent = error instanceof ConfigurationError
  writeLog("error", error.message, isPermanent ? {} : { exception: error.stack })
  process.exit(isPermanent ? 2 : 1)
}
