/** Files of a folder over HTTP: those of the admin's pages are there compressed, too. */

import { createHash } from "node:crypto"
import { createReadStream } from "node:fs"
import { readFile, stat } from "node:fs/promises"
import { extname, join, normalize, sep } from "node:path"
import { pipeline } from "node:stream/promises"

/** @type {Record<string, string>} */
const TYPES = {
  ".avif": "image/avif",
  ".css": "text/css; charset=utf-8",
  ".gif": "image/gif",
  ".html": "text/html; charset=utf-8",
  ".ico": "image/x-icon",
  ".jpeg": "image/jpeg",
  ".jpg": "image/jpeg",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".png": "image/png",
  ".svg": "image/svg+xml",
  ".webp": "image/webp",
  ".woff2": "font/woff2",
}

/** Up to this size a file is known by its content: those of an image all bear the same time. */
const READ_LIMIT = 4 << 20

export class Files {
  /** @type {Map<string, string>} */
  #tags = new Map()

  /**
   * @param {string} prefix of their paths, with its slashes
   * @param {string} folder
   * @param {{ maxAge: number, index?: string, headers?: Record<string, string> }} options `index` answers for what is no file
   */
  constructor(prefix, folder, { maxAge, index, headers = {} }) {
    this.prefix = prefix
    this.folder = folder
    this.maxAge = maxAge
    this.index = index
    this.headers = headers
  }

  /**
   * @param {import("node:http").IncomingMessage} request
   * @param {import("node:http").ServerResponse} response
   * @param {string} path
   * @returns {Promise<boolean>} whether it was one of these
   */
  async answer(request, response, path) {
    if (!path.startsWith(this.prefix)) return false
    if (request.method !== "GET" && request.method !== "HEAD") {
      response.writeHead(405, { allow: "GET, HEAD" }).end()
      return true
    }
    const found = (await this.#find(path.slice(this.prefix.length))) ?? (this.index ? await this.#file(this.index) : null)
    if (found) await this.#send(request, response, found)
    else response.writeHead(404, { "content-type": "text/plain; charset=utf-8" }).end("There is no such file.\n")
    return true
  }

  async #find(/** @type {string} */ name) {
    try {
      const decoded = normalize(decodeURIComponent(name))
      const outside = decoded.startsWith("..") || decoded.startsWith(sep) || decoded.includes("\0")
      return outside || decoded.endsWith(".gz") ? null : await this.#file(decoded)
    } catch {
      return null // not an address that can be decoded
    }
  }

  async #file(/** @type {string} */ name) {
    const path = join(this.folder, name)
    const found = await stat(path).catch(() => null)
    return found?.isFile() ? { path, size: found.size, tag: await this.#tag(path, found) } : null
  }

  async #tag(/** @type {string} */ path, /** @type {import("node:fs").Stats} */ { size, mtimeMs }) {
    const state = `${size.toString(36)}-${mtimeMs.toString(36)}`
    if (size > READ_LIMIT) return `"${state}"`
    const key = `${path}\0${state}`
    let tag = this.#tags.get(key)
    if (!tag) {
      if (this.#tags.size > 2000) this.#tags.clear()
      tag = `"${createHash("sha256").update(await readFile(path)).digest("base64url").slice(0, 22)}"`
      this.#tags.set(key, tag)
    }
    return tag
  }

  async #send(
    /** @type {import("node:http").IncomingMessage} */ request,
    /** @type {import("node:http").ServerResponse} */ response,
    /** @type {{ path: string, size: number, tag: string }} */ file,
  ) {
    const fixed = /-[\w-]{8}\.\w+$/.test(file.path) // its name has a hash of its content
    const headers = {
      "content-type": TYPES[extname(file.path).toLowerCase()] ?? "application/octet-stream",
      "cache-control": fixed ? `public, max-age=${this.maxAge}, immutable` : "no-cache",
      etag: file.tag,
      vary: "accept-encoding",
      ...this.headers,
    }
    if (request.headers["if-none-match"] === file.tag) return void response.writeHead(304, headers).end()
    const packed = /\bgzip\b/.test(String(request.headers["accept-encoding"])) && (await stat(`${file.path}.gz`).catch(() => null))
    const content = packed
      ? { path: `${file.path}.gz`, headers: { ...headers, "content-encoding": "gzip", "content-length": packed.size } }
      : { path: file.path, headers: { ...headers, "content-length": file.size } }
    response.writeHead(200, content.headers)
    if (request.method === "HEAD") return void response.end()
    await pipeline(createReadStream(content.path), response).catch(() => response.destroy()) // whoever asked has gone
  }
}
