/** What differs between the versions of Medusa that this code is for. */

import { readFileSync } from "node:fs"
import { join } from "node:path"

export const HOME = join(import.meta.dirname, "../..")

/** @returns {boolean} whether there are search indexes, which came with 2.21 */
export function hasSearch() {
  const { version } = JSON.parse(readFileSync(join(HOME, "node_modules/@medusajs/medusa/package.json"), "utf8"))
  const [major, minor] = version.split(".").map(Number)
  return major > 2 || minor >= 21
}
