import assert from "node:assert/strict"
import { once } from "node:events"
import { createServer } from "node:http"
import { after, before, beforeEach, test } from "node:test"
import { Shop } from "../src/storefront/shop.mjs"
import { Storefront } from "../src/storefront/storefront.mjs"
import { KEY, StoreApi } from "./store-api.mjs"

const BUYER = {
  email: "grace@example.com", first_name: "Grace", last_name: "Guest", address_1: "1 Main Street", postal_code: "1010",
  city: "Vienna", country_code: "at", delivery: "so_1", payment: "cod",
}
const SETTINGS = [{ key: KEY, title: "Acme <Goods>", country: "de" }]
let api
let shop
let server
let base
let settings

before(async () => {
  api = new StoreApi()
  shop = await api.start()
  server = createServer(async (request, response) => {
    if (!(await page.answer(request, response))) response.writeHead(418).end("Medusa's")
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  base = `http://127.0.0.1:${server.address().port}`
})
let page
beforeEach(() => {
  settings = SETTINGS
  api.cart = null
  api.asked = []
  page = new Storefront(new Shop({ server: shop, database: { raw: async () => ({ rows: settings }) } }), { url: "http://acme.localhost/" })
})
after(() => {
  server.closeAllConnections()
  server.close()
  api.stop()
})

const get = (path, headers = {}) => fetch(base + path, { headers, redirect: "manual" })
const post = (path, fields, headers = {}) =>
  fetch(base + path, { method: "POST", body: new URLSearchParams(fields), headers, redirect: "manual" })
const cookie = { cookie: "other=1; cart=cart_1" }
const fill = () => post("/cart", { variant: "variant_1", handle: "mug", quantity: "2" })

test("the list shows goods, and nothing that comes from elsewhere is markup", async () => {
  const answer = await get("/")
  const text = await answer.text()
  assert.equal(answer.status, 200)
  assert.match(text, /Mug &lt;b&gt;&amp; co/)
  assert.match(text, /Acme &lt;Goods&gt;/)
  assert.match(text, /from<\/span> €18\.00/)
  assert.match(text, /name="publishable-key" content="pk_test"/)
  assert.match(answer.headers.get("content-security-policy"), /default-src 'none'.*frame-ancestors 'none'/)
  assert.ok(!text.includes("<script"))
})

test("every question to the Store API bears the key that the database has", async () => {
  await get("/")
  assert.ok(api.asked.length > 1)
  assert.ok(api.asked.every(({ key }) => key === KEY))
})

test("a shop without a key says so", async () => {
  settings = []
  await assert.rejects(shopOf().settings(), /no publishable key/)
})
const shopOf = () => new Shop({ server: shop, database: { raw: async () => ({ rows: settings }) } })

test("what is sold out cannot be chosen", async () => {
  const text = await (await get("/products/mug")).text()
  assert.match(text, /value="variant_2" required\s+disabled/)
  assert.match(text, /value="variant_1" required checked/)
})

test("a purchase, step by step", async () => {
  const added = await fill()
  assert.equal(added.status, 303)
  assert.match(added.headers.get("set-cookie"), /^cart=cart_1; Path=\/; Max-Age=\d+; HttpOnly; SameSite=Lax$/)
  assert.equal(api.asked.find(({ call }) => call === "POST /store/carts").body.shipping_address.country_code, "de")
  assert.match(await (await get("/cart", cookie)).text(), /€36\.00/)
  assert.match(await (await get("/checkout", cookie)).text(), /<option value="de" selected>/)
  const bought = await post("/checkout", BUYER, cookie)
  assert.equal(bought.headers.get("location"), "/orders/order_0123456789")
  assert.match(bought.headers.get("set-cookie"), /^cart=; .*Max-Age=0/)
  const provider = api.asked.find(({ call }) => call.endsWith("/payment-sessions")).body.provider_id
  assert.equal(provider, "pp_system_default")
  const order = await (await get("/orders/order_0123456789")).text()
  assert.match(order, /Thank you, Grace!/)
  assert.match(order, /<strong class="number">7</)
  assert.match(order, /Austria/)
})

test("the same form twice is one order", async () => {
  await fill()
  await post("/checkout", BUYER, cookie)
  const again = await post("/checkout", BUYER, cookie)
  assert.equal(again.headers.get("location"), "/orders/order_0123456789")
})

test("what is missing is asked for again, and nothing is ordered", async () => {
  await fill()
  const answer = await post("/checkout", { ...BUYER, email: "grace", city: "", address_1: `"><i>` }, cookie)
  const text = await answer.text()
  assert.equal(answer.status, 422)
  assert.match(text, /City is missing/)
  assert.match(text, /This is not an e-mail address/)
  assert.match(text, /value="&quot;&gt;&lt;i&gt;"/)
  assert.ok(!api.asked.some(({ call }) => call.endsWith("/complete")))
})

test("more than there is, and amounts that are none", async () => {
  const answer = await post("/cart", { variant: "variant_1", handle: "mug", quantity: "4" })
  assert.equal(answer.status, 422)
  assert.match(await answer.text(), /not so many left/)
  for (const quantity of ["0", "1.5", "x", "1000"]) {
    assert.equal((await post("/cart", { variant: "variant_1", handle: "mug", quantity })).status, 422)
  }
})

test("lines of a cart are changed and removed", async () => {
  await fill()
  await post("/cart/items", { item: "cali_1", quantity: "3" }, cookie)
  assert.equal(api.cart.items[0].quantity, 3)
  await post("/cart/items", { item: "cali_1", quantity: "3", remove: "1" }, cookie)
  assert.equal(api.cart.items.length, 0)
  assert.match(await (await get("/cart", cookie)).text(), /It is empty/)
})

test("forms of other sites are refused", async () => {
  const bad = await post("/cart", { variant: "variant_1" }, { origin: "http://evil.example" })
  assert.equal(bad.status, 403)
  assert.equal((await post("/cart", { variant: "variant_1" }, { "sec-fetch-site": "cross-site" })).status, 403)
  assert.equal(api.cart, null)
})

test("forms that are none, or too large", async () => {
  assert.equal((await fetch(`${base}/cart`, { method: "POST", body: "{}", headers: { "content-type": "application/json" } })).status, 415)
  assert.equal((await post("/cart", { variant: "x".repeat(70_000) })).status, 413)
})

test("other addresses: the shop's own words, and Medusa's paths left to it", async () => {
  assert.equal((await get("/nothing")).status, 404)
  assert.equal((await post("/", {})).status, 405)
  assert.equal((await get("/orders/order_unknown0000")).status, 404)
  for (const path of ["/store/products", "/admin/orders", "/auth/user/emailpass", "/app/", "/health"]) {
    assert.equal((await get(path)).status, 418)
  }
})
