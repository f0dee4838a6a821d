/** Differences between the supported versions of Medusa. */

import { readFileSync } from "node:fs"
import { join } from "node:path"

export const HOME = join(import.meta.dirname, "../..")

/** @returns {boolean} whether this Medusa has search indexes, introduced in 2.21 */
export function hasSearchIndexes() {
  const manifest = join(HOME, "node_modules/@medusajs/medusa/package.json")
  const { version } = JSON.parse(readFileSync(manifest, "utf8"))
  const [major, minor] = version.split(".").map(Number)
  return major > 2 || minor >= 21
}
