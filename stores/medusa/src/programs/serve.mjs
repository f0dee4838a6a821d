/**
 * `serve`: storefront, Store API and admin in one process. It listens at once, reads Medusa's code while the database is
 * made ready, and answers when Medusa has started.
 */

import { createServer } from "node:http"
import { createRequire } from "node:module"
import { setTimeout as pause } from "node:timers/promises"
import { configuration } from "./configuration.mjs"
import { preload } from "./preload.mjs"
import { line } from "./lines.mjs"
import { isReady } from "./marks.mjs"
import { withDatabase } from "./postgres.mjs"
import { HOME } from "./release.mjs"
import { Site } from "./site.mjs"

const require = createRequire(import.meta.url)
const LOOK_EVERY = 100
const PATIENCE = 600_000
/** In which open requests are answered; the pod's grace period is longer. */
const FAREWELL = 3000

export async function run() {
  const began = performance.now()
  const store = configuration()
  process.chdir(HOME)
  const site = new Site(store)
  const server = createServer((request, response) => site.answer(request, response))
  server.requestTimeout = 60_000
  server.headersTimeout = 20_000
  server.keepAliveTimeout = 5000
  await new Promise((resolve, reject) => {
    server.once("error", reject)
    server.listen(store.port, store.address, () => resolve(undefined))
  })
  /** @type {() => Promise<void>} */
  let shutdown = async () => undefined
  for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => stop(server, site, () => shutdown()))
  const loaded = preload()
  const read = performance.now()
  await waitForSetUp(store)
  const waited = performance.now()
  shutdown = await start(site)
  const seconds = (/** @type {number} */ from, /** @type {number} */ to) => Math.round(to - from) / 1000
  line("info", "shop is open", {
    modules: loaded,
    read_seconds: seconds(began, read),
    waited_seconds: seconds(read, waited),
    start_seconds: seconds(waited, performance.now()),
  })
}

async function waitForSetUp(/** @type {Readonly<Record<string, any>>} */ store) {
  const deadline = Date.now() + PATIENCE
  while (!(await withDatabase(store.database, async (client) => isReady(client)))) {
    if (Date.now() > deadline) throw new Error("The set-up is not done after ten minutes: look at its own log.")
    await pause(LOOK_EVERY)
  }
}

async function start(/** @type {Site} */ site) {
  const express = require("express")
  const { default: load } = require("@medusajs/medusa/loaders/index")
  const app = express()
  app.disable("x-powered-by")
  const { shutdown, container } = await load({ directory: HOME, expressApp: app })
  site.open(app, container.resolve("__pg_connection__"))
  return shutdown
}

function stop(
  /** @type {import("node:http").Server} */ server,
  /** @type {Site} */ site,
  /** @type {() => Promise<void>} */ shutdown,
) {
  line("info", "closing")
  site.close()
  const late = setTimeout(() => process.exit(0), FAREWELL)
  server.close(async () => {
    await shutdown().catch(() => undefined)
    clearTimeout(late)
    process.exit(0)
  })
  server.closeIdleConnections()
}
