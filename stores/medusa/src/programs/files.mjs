/** Serve the files of a folder over HTTP; the admin's files also exist gzip-compressed. */

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

/**
 * Up to this size the ETag is a hash of the content: files of an image all have the same
 * modification time.
 */
const HASHED_SIZE_MAX_BYTES = 4 << 20
const CACHED_TAGS_MAX = 2000

export class StaticFiles {
  /** @type {Map<string, string>} */
  #tags = new Map()

  /**
   * @param {string} prefix of the URL paths, with leading and trailing slash
   * @param {string} folder
   * @param {{ maxAge: number, index?: string, headers?: Record<string, string> }} options `maxAge`
   *   in seconds for files with a hash in their name; `index` is sent for paths without a file
   */
  constructor(prefix, folder, { maxAge, index, headers = {} }) {
    this.prefix = prefix
    this.folder = folder
    this.maxAge = maxAge
    this.index = index
    this.headers = headers
  }

  /**
   * Answer a request whose path has this prefix.
   *
   * @param {import("node:http").IncomingMessage} request
   * @param {import("node:http").ServerResponse} response
   * @param {string} path
   * @returns {Promise<boolean>} whether it was answered
   */
  async handleRequest(request, response, path) {
    if (!path.startsWith(this.prefix)) return false
    if (request.method !== "GET" && request.method !== "HEAD") {
      response.writeHead(405, { allow: "GET, HEAD" }).end()
      return true
    }
    const found =
      (await this.#findFile(path.slice(this.prefix.length))) ??
      (this.index ? await this.#describeFile(this.index) : null)
    if (found) await this.#sendFile(request, response, found)
    else {
      response.writeHead(404, { "content-type": "text/plain; charset=utf-8" })
      response.end("This file does not exist.\n")
    }
    return true
  }

  async #findFile(/** @type {string} */ name) {
    try {
      const decoded = normalize(decodeURIComponent(name))
      const isOutside =
        decoded.startsWith("..") || decoded.startsWith(sep) || decoded.includes("\0")
      return isOutside || decoded.endsWith(".gz") ? null : await this.#describeFile(decoded)
    } catch {
      return null // the path cannot be decoded
    }
  }

  async #describeFile(/** @type {string} */ name) {
    const path = join(this.folder, name)
    const found = await stat(path).catch(() => null)
    if (!found?.isFile()) return null
    return { path, size: found.size, tag: await this.#computeTag(path, found) }
  }

  async #computeTag(
    /** @type {string} */ path,
    /** @type {import("node:fs").Stats} */ { size, mtimeMs },
  ) {
    const state = `${size.toString(36)}-${mtimeMs.toString(36)}`
    if (size > HASHED_SIZE_MAX_BYTES) return `"${state}"`
    const key = `${path}\0${state}`
    let tag = this.#tags.get(key)
    if (!tag) {
      if (this.#tags.size > CACHED_TAGS_MAX) this.#tags.clear()
      const digest = createHash("sha256")
        .update(await readFile(path))
        .digest("base64url")
      tag = `"${digest.slice(0, 22)}"`
      this.#tags.set(key, tag)
    }
    return tag
  }

  async #sendFile(
    /** @type {import("node:http").IncomingMessage} */ request,
    /** @type {import("node:http").ServerResponse} */ response,
    /** @type {{ path: string, size: number, tag: string }} */ file,
  ) {
    const hasHashInName = /-[\w-]{8}\.\w+$/.test(file.path)
    const headers = {
      "content-type": TYPES[extname(file.path).toLowerCase()] ?? "application/octet-stream",
      "cache-control": hasHashInName ? `public, max-age=${this.maxAge}, immutable` : "no-cache",
      etag: file.tag,
      vary: "accept-encoding",
      ...this.headers,
    }
    if (request.headers["if-none-match"] === file.tag) {
      return void response.writeHead(304, headers).end()
    }
    const acceptsGzip = /\bgzip\b/.test(String(request.headers["accept-encoding"]))
    const packed = acceptsGzip && (await stat(`${file.path}.gz`).catch(() => null))
    const path = packed ? `${file.path}.gz` : file.path
    response.writeHead(200, {
      ...headers,
      ...(packed ? { "content-encoding": "gzip" } : {}),
      "content-length": packed ? packed.size : file.size,
    })
    if (request.method === "HEAD") return void response.end()
    // A failing pipeline means that the client has disconnected.
    await pipeline(createReadStream(path), response).catch(() => response.destroy())
  }
}
