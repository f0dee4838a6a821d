/**
 * Build the admin's pages once for all stores: they call the host that served them. Each text file
 * also gets a gzip-compressed copy.
 */

import { createRequire } from "node:module"
import { readFileSync, readdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { gzipSync } from "node:zlib"

/** Smaller files are not worth compressing. */
const COMPRESSED_SIZE_MIN_BYTES = 1024
const outDir = join(import.meta.dirname, "../public/admin")

process.chdir(join(import.meta.dirname, ".."))
const { build } = createRequire(import.meta.url)("@medusajs/admin-bundler")
await build({
  disable: false,
  path: "/app",
  backendUrl: "/",
  sources: [],
  plugins: ["@medusajs/draft-order/admin"],
  outDir,
})
for (const entry of readdirSync(outDir, { recursive: true, withFileTypes: true })) {
  const path = join(entry.parentPath, entry.name)
  if (!entry.isFile() || !/\.(css|html|js|json|svg)$/.test(entry.name)) continue
  const content = readFileSync(path)
  if (content.length > COMPRESSED_SIZE_MIN_BYTES) {
    writeFileSync(`${path}.gz`, gzipSync(content, { level: 9 }))
  }
}
