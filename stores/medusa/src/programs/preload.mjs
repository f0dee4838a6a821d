/**
 * Load Medusa's code before it is used: that is most of Medusa's start-up time and needs no
 * database.
 */

import { readdirSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { listModules } from "./release.mjs"

const require = createRequire(import.meta.url)
const FOLDERS = ["api", "subscribers"]

/** @returns {number} how many modules are in memory now */
export function preloadModules() {
  const dist = dirname(require.resolve("@medusajs/medusa"))
  require("@medusajs/medusa/loaders/index")
  require("@medusajs/medusa/core-flows")
  require("@medusajs/framework/pg")
  for (const name of listModules()) require(`@medusajs/medusa/${name}`)
  for (const folder of FOLDERS) {
    for (const entry of readdirSync(join(dist, folder), { recursive: true, withFileTypes: true })) {
      if (entry.isFile() && entry.name.endsWith(".js")) require(join(entry.parentPath, entry.name))
    }
  }
  return Object.keys(require.cache).length
}
