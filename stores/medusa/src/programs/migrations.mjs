/** The migrations that this release of Medusa needs, from the packages of its modules. */

import { readdirSync } from "node:fs"
import { join } from "node:path"
import { HOME, listModules } from "./release.mjs"

/** @type {string[] | null} */
let known = null

/** @returns {string[]} names as Medusa records them */
export function listMigrations() {
  known ??= listModules().flatMap((name) =>
    listNames(join(HOME, "node_modules/@medusajs", name, "dist/migrations")),
  )
  return known
}

/** @param {string} folder absent if the module has no tables */
function listNames(folder) {
  try {
    return readdirSync(folder)
      .filter((name) => /^Migration\w+\.js$/.test(name))
      .map((name) => name.slice(0, -3))
  } catch (error) {
    if (error.code === "ENOENT") return []
    throw error
  }
}
