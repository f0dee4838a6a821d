/**
 * `serve`: storefront, Store API and admin in one process. It listens at once, loads Medusa's code
 * while the set-up runs, and answers pages once Medusa has started.
 */

import { createServer } from "node:http"
import { createRequire } from "node:module"
import { setTimeout as pause } from "node:timers/promises"
import { announceOutbox } from "../mail/notice.mjs"
import { readConfiguration } from "./configuration.mjs"
import { preloadModules } from "./preload.mjs"
import { writeLog } from "./logs.mjs"
import { isReady } from "./marks.mjs"
import { withDatabase } from "./postgres.mjs"
import { HOME } from "./release.mjs"
import { Router } from "./router.mjs"

const require = createRequire(import.meta.url)
const SETUP_POLL_INTERVAL_MS = 100
const SETUP_TIMEOUT_MS = 600_000
/** How long open requests may take at shutdown; the pod's grace period is longer. */
const DRAIN_TIMEOUT_MS = 3000

export async function run() {
  const began = performance.now()
  const store = readConfiguration()
  process.chdir(HOME)
  const router = new Router(store)
  const server = createServer((request, response) => router.handleRequest(request, response))
  server.requestTimeout = 300_000 // a picture of 15 MB over a slow line
  server.headersTimeout = 20_000
  server.keepAliveTimeout = 5000
  await new Promise((resolve, reject) => {
    server.once("error", reject)
    server.listen(store.port, store.address, () => resolve(undefined))
  })
  /** @type {() => Promise<void>} */
  let shutdown = async () => undefined
  for (const signal of ["SIGTERM", "SIGINT"]) {
    process.once(signal, () => stopServer(server, router, () => shutdown()))
  }
  const moduleCount = preloadModules()
  const loaded = performance.now()
  await waitForSetup(store)
  const setUp = performance.now()
  shutdown = await startMedusa(router)
  const seconds = (/** @type {number} */ from, /** @type {number} */ to) =>
    Math.round(to - from) / 1000
  writeLog("info", "Store started", {
    modules: moduleCount,
    load_seconds: seconds(began, loaded),
    wait_seconds: seconds(loaded, setUp),
    start_seconds: seconds(setUp, performance.now()),
  })
}

async function waitForSetup(/** @type {Readonly<Record<string, any>>} */ store) {
  const deadline = Date.now() + SETUP_TIMEOUT_MS
  while (!(await withDatabase(store.database, async (client) => isReady(client)))) {
    if (Date.now() > deadline) {
      throw new Error(
        "The set-up has not finished after ten minutes. Look at the log of the set-up.",
      )
    }
    await pause(SETUP_POLL_INTERVAL_MS)
  }
}

async function startMedusa(/** @type {Router} */ router) {
  const express = require("express")
  const { default: load } = require("@medusajs/medusa/loaders/index")
  const app = express()
  app.disable("x-powered-by")
  const { shutdown, container } = await load({ directory: HOME, expressApp: app })
  router.attachMedusa(app, container.resolve("__pg_connection__"))
  void announceOutbox(container)
  return shutdown
}

function stopServer(
  /** @type {import("node:http").Server} */ server,
  /** @type {Router} */ router,
  /** @type {() => Promise<void>} */ shutdown,
) {
  writeLog("info", "Store stopping")
  router.startDraining()
  const timer = setTimeout(() => process.exit(0), DRAIN_TIMEOUT_MS)
  server.close(async () => {
    await shutdown().catch(() => undefined)
    clearTimeout(timer)
    process.exit(0)
  })
  server.closeIdleConnections()
}
