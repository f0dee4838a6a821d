/** Differences between the supported versions of Medusa. */

import { readFileSync } from "node:fs"
import { join } from "node:path"

export const HOME = join(import.meta.dirname, "../..")

const MODULES = [
  ...["api-key", "auth", "auth-emailpass", "cache-inmemory", "cart", "currency", "customer"],
  ...["event-bus-local", "file", "file-local", "fulfillment", "fulfillment-manual", "inventory"],
  ...["locking", "notification", "notification-local", "order", "payment", "pricing", "product"],
  ...["promotion", "region", "sales-channel", "settings", "stock-location", "store", "tax", "user"],
  "workflow-engine-inmemory",
]
const SEARCH_MODULES = ["search", "search-postgres"]

/** @returns {string[]} the modules of Medusa that a store uses, as names of packages */
export const listModules = () => (hasSearchIndexes() ? [...MODULES, ...SEARCH_MODULES] : MODULES)

/** @returns {boolean} whether this Medusa has search indexes, introduced in 2.21 */
export function hasSearchIndexes() {
  const manifest = join(HOME, "node_modules/@medusajs/medusa/package.json")
  const { version } = JSON.parse(readFileSync(manifest, "utf8"))
  const [major, minor] = version.split(".").map(Number)
  return major > 2 || minor >= 21
}
