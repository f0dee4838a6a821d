import assert from "node:assert/strict"
import { once } from "node:events"
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from "node:fs"
import { createServer, request } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, before, test } from "node:test"
import { gzipSync } from "node:zlib"
import { StaticFiles } from "../src/programs/files.mjs"

let folder
let server
before(async () => {
  folder = mkdtempSync(join(tmpdir(), "files-"))
  mkdirSync(join(folder, "app/assets"), { recursive: true })
  writeFileSync(join(folder, "secret"), "no")
  writeFileSync(join(folder, "app/index.html"), "<p>admin")
  writeFileSync(join(folder, "app/assets/index-Ab12Cd34.js"), "let a")
  writeFileSync(join(folder, "app/assets/index-Ab12Cd34.js.gz"), gzipSync("let a"))
  const files = new StaticFiles("/app/", join(folder, "app"), { maxAge: 60, index: "index.html" })
  server = createServer(async (incoming, response) => {
    if (!(await files.handleRequest(incoming, response, incoming.url)))
      response.writeHead(418).end()
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
})
after(() => {
  server.close()
  rmSync(folder, { recursive: true })
})

/** Send the path unchanged; `fetch` would normalize it. */
function sendRequest(path, headers = {}, method = "GET") {
  return new Promise((resolve, reject) => {
    const target = { port: server.address().port, host: "127.0.0.1", path, headers, method }
    const sent = request({ ...target, agent: false }, (answer) => {
      const parts = []
      answer.on("data", (part) => parts.push(part))
      answer.on("end", () =>
        resolve({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(parts) }),
      )
    })
    sent.on("error", reject).end()
  })
}

test("a file is sent compressed to clients that accept gzip", async () => {
  const plain = await sendRequest("/app/assets/index-Ab12Cd34.js")
  assert.equal(plain.body.toString(), "let a")
  assert.equal(plain.headers["cache-control"], "public, max-age=60, immutable")
  assert.match(plain.headers["content-type"], /^text\/javascript/)
  const packed = await sendRequest("/app/assets/index-Ab12Cd34.js", {
    "accept-encoding": "gzip, br",
  })
  assert.equal(packed.headers["content-encoding"], "gzip")
  assert.deepEqual(packed.body, gzipSync("let a"))
})

test("paths of the admin without a file get its index page", async () => {
  for (const path of ["/app/", "/app/login", "/app/orders/1"]) {
    const answer = await sendRequest(path)
    assert.equal(answer.body.toString(), "<p>admin")
    assert.equal(answer.headers["cache-control"], "no-cache")
  }
})

test("files outside the folder are not served", async () => {
  for (const path of [
    "/app/../secret",
    "/app/..%2fsecret",
    "/app/%2e%2e/secret",
    "/app/a/../../secret",
    "/app/%00",
    "/app/%",
  ]) {
    assert.notEqual((await sendRequest(path)).body.toString(), "no", path)
  }
  assert.equal((await sendRequest("/secret")).status, 418)
})

test("an unchanged file is answered with 304 and other methods with 405", async () => {
  const { headers } = await sendRequest("/app/")
  assert.equal((await sendRequest("/app/", { "if-none-match": headers.etag })).status, 304)
  assert.equal((await sendRequest("/app/", {}, "POST")).status, 405)
  assert.equal((await sendRequest("/app/", {}, "HEAD")).body.length, 0)
})
