/** The one door into the image: `node main.mjs serve`, and so on. It ends with 2 when another try cannot help. */

import { ConfigurationError } from "./configuration.mjs"
import { line } from "./lines.mjs"

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
    throw new ConfigurationError(`There is no program “${name}”; there are ${Object.keys(PROGRAMS).join(", ")}.`)
  }
  await (await PROGRAMS[name]()).run()
} catch (error) {
  const final = error instanceof ConfigurationError
  line("error", error.message, final ? {} : { exception: error.stack })
  process.exit(final ? 2 : 1)
}
