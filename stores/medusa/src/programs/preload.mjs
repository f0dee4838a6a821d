/**
 * Load Medusa's code before it is used: that is most of Medusa's start-up time and needs no
 * database.
 */

import { readdirSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { hasSearchIndexes } from "./release.mjs"

const require = createRequire(import.meta.url)
const FOLDERS = ["api", "subscribers"]
const MODULES = [
  ...["api-key", "auth", "auth-emailpass", "cache-inmemory", "cart", "currency", "customer"],
  ...["event-bus-local", "file", "file-local", "fulfillment", "fulfillment-manual", "inventory"],
  ...["locking", "notification", "notification-local", "order", "payment", "pricing", "product"],
  ...["promotion", "region", "sales-channel", "settings", "stock-location", "store", "tax", "user"],
  "workflow-engine-inmemory",
]
const SEARCH_MODULES = ["search", "search-postgres"]

/** @returns {number} how many modules are in memory now */
export function preloadModules() {
  const dist = dirname(require.resolve("@medusajs/medusa"))
  require("@medusajs/medusa/loaders/index")
  require("@medusajs/medusa/core-flows")
  require("@medusajs/framework/pg")
  const names = hasSearchIndexes() ? [...MODULES, ...SEARCH_MODULES] : MODULES
  for (const name of names) require(`@medusajs/medusa/${name}`)
  for (const folder of FOLDERS) {
    for (const entry of readdirSync(join(dist, folder), { recursive: true, withFileTypes: true })) {
      if (entry.isFile() && entry.name.endsWith(".js")) require(join(entry.parentPath, entry.name))
    }
  }
  return Object.keys(require.cache).length
}
