import assert from "node:assert/strict"
import { once } from "node:events"
import { createServer } from "node:http"
import { after, before, beforeEach, test } from "node:test"
import { StoreHealth } from "../src/programs/health.mjs"
import { checkUpload } from "../src/programs/uploads.mjs"

const SETTINGS = { key: "pk_1", title: "Acme", country: "de", has_region: true, is_closed: false }
let server
let port
let answers
let rows
let isDown
const pool = {
  query: async (sql) => {
    if (isDown) throw new Error("connection refused")
    if (sql.includes("mikro_orm_migrations")) return { rows: rows.pending }
    return { rows: sql.includes("api_key") ? rows.settings : [{}] }
  },
}
before(async () => {
  server = createServer((request, response) => {
    const [status, body] = answers[request.url.split("?")[0]]
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body))
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  port = server.address().port
})
beforeEach(() => {
  isDown = false
  rows = { pending: [], settings: [SETTINGS] }
  answers = { "/store/products": [200, { products: [] }], "/admin/users/me": [401, {}] }
})
after(() => {
  server.closeAllConnections()
  server.close()
})

function report() {
  const health = new StoreHealth({ port }, pool, () => [])
  health.hasStarted = true
  return health.report()
}
const GOOD = {
  database: "ok",
  schema: "current",
  setup: "done",
  admin_api: "ok",
  store_api: "ok",
  storefront: "open",
}

test("a store without any product is healthy", async () => {
  assert.deepEqual(await report(), GOOD)
})

test("what the owner removes or closes is no fault", async () => {
  const rejected = { type: "not_allowed", message: "A valid publishable key is required" }
  for (const [change, answer] of [
    [{ is_closed: true }, [200, { products: [] }]],
    [{ key: null }, [400, { message: "Publishable API key required in the request header" }]],
    [{ has_region: false }, [200, { products: [] }]],
    [{ key: null }, [400, rejected]],
  ]) {
    rows.settings = [{ ...SETTINGS, ...change }]
    answers["/store/products"] = answer
    assert.deepEqual(await report(), { ...GOOD, storefront: "closed" })
  }
})

test("each broken part is reported", async () => {
  answers["/store/products"] = [500, {}]
  answers["/admin/users/me"] = [404, {}]
  assert.deepEqual(await report(), { ...GOOD, store_api: "failing", admin_api: "failing" })
  rows.pending = [{ name: "Migration1" }]
  const pending = await report()
  assert.deepEqual([pending.schema, pending.storefront], ["pending", "unknown"])
  isDown = true
  assert.equal((await report()).database, "unreachable")
})

test("a report before the start names no part as failing, and is computed once a second", async () => {
  const health = new StoreHealth({ port }, pool, () => [])
  const first = await health.report()
  assert.deepEqual([first.database, first.admin_api], ["ok", "unknown"])
  isDown = true
  assert.equal(await health.report(), first)
  assert.equal(await health.isDatabaseReachable(), false)
})

test("uploads above the limit or of unknown size are rejected with the reason", () => {
  const upload = (headers) =>
    checkUpload({ headers: { "content-type": "multipart/form-data; boundary=x", ...headers } }, 2e6)
  assert.equal(upload({ "content-length": "2000000" }), null)
  assert.match(upload({ "content-length": "2000001" }).message, /At most 2 MB/)
  assert.match(upload({ "transfer-encoding": "chunked" }).message, /Content-Length/)
  assert.equal(checkUpload({ headers: { "content-type": "application/json" } }, 2e6), null)
})
