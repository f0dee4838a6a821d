import assert from "node:assert/strict"
import { once } from "node:events"
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from "node:fs"
import { createServer, request } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, before, test } from "node:test"
import { gzipSync } from "node:zlib"
import { Files } from "../src/programs/files.mjs"

let folder
let server
before(async () => {
  folder = mkdtempSync(join(tmpdir(), "files-"))
  mkdirSync(join(folder, "app/assets"), { recursive: true })
  writeFileSync(join(folder, "secret"), "no")
  writeFileSync(join(folder, "app/index.html"), "<p>admin")
  writeFileSync(join(folder, "app/assets/index-Ab12Cd34.js"), "let a")
  writeFileSync(join(folder, "app/assets/index-Ab12Cd34.js.gz"), gzipSync("let a"))
  const files = new Files("/app/", join(folder, "app"), { maxAge: 60, index: "index.html" })
  server = createServer(async (asked, response) => {
    if (!(await files.answer(asked, response, asked.url))) response.writeHead(418).end()
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
})
after(() => {
  server.close()
  rmSync(folder, { recursive: true })
})

/** The path as it is, which `fetch` would tidy up. */
function ask(path, headers = {}, method = "GET") {
  return new Promise((resolve, reject) => {
    const asked = request({ port: server.address().port, host: "127.0.0.1", path, headers, method, agent: false }, (answer) => {
      const parts = []
      answer.on("data", (part) => parts.push(part))
      answer.on("end", () => resolve({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(parts) }))
    })
    asked.on("error", reject).end()
  })
}

test("files, compressed for who can read it", async () => {
  const plain = await ask("/app/assets/index-Ab12Cd34.js")
  assert.equal(plain.body.toString(), "let a")
  assert.equal(plain.headers["cache-control"], "public, max-age=60, immutable")
  assert.match(plain.headers["content-type"], /^text\/javascript/)
  const packed = await ask("/app/assets/index-Ab12Cd34.js", { "accept-encoding": "gzip, br" })
  assert.equal(packed.headers["content-encoding"], "gzip")
  assert.deepEqual(packed.body, gzipSync("let a"))
})

test("addresses of the admin's own pages show its one page", async () => {
  for (const path of ["/app/", "/app/login", "/app/orders/1"]) {
    const answer = await ask(path)
    assert.equal(answer.body.toString(), "<p>admin")
    assert.equal(answer.headers["cache-control"], "no-cache")
  }
})

test("nothing outside the folder", async () => {
  for (const path of ["/app/../secret", "/app/..%2fsecret", "/app/%2e%2e/secret", "/app/a/../../secret", "/app/%00", "/app/%"]) {
    assert.notEqual((await ask(path)).body.toString(), "no", path)
  }
  assert.equal((await ask("/secret")).status, 418)
})

test("the same again is not sent again; and nothing is written", async () => {
  const { headers } = await ask("/app/")
  assert.equal((await ask("/app/", { "if-none-match": headers.etag })).status, 304)
  assert.equal((await ask("/app/", {}, "POST")).status, 405)
  assert.equal((await ask("/app/", {}, "HEAD")).body.length, 0)
})
