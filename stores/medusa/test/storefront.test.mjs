import assert from "node:assert/strict"
import { once } from "node:events"
import { createServer } from "node:http"
import { after, before, beforeEach, test } from "node:test"
import { StoreApiClient } from "../src/storefront/store-api.mjs"
import { Storefront } from "../src/storefront/storefront.mjs"
import { FakeStoreApi, KEY } from "./fake-store-api.mjs"

const BUYER = {
  email: "grace@example.com",
  first_name: "Grace",
  last_name: "Guest",
  address_1: "1 Main Street",
  postal_code: "1010",
  city: "Vienna",
  country_code: "at",
  delivery: "so_1",
  payment: "cod",
}
const SETTINGS = [{ key: KEY, title: "Acme <Goods>", country: "de" }]
let api
let apiUrl
let server
let base
let settings

before(async () => {
  api = new FakeStoreApi()
  apiUrl = await api.start()
  server = createServer(async (request, response) => {
    if (!(await storefront.handleRequest(request, response)))
      response.writeHead(418).end("Medusa's")
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  base = `http://127.0.0.1:${server.address().port}`
})
let storefront
beforeEach(() => {
  settings = SETTINGS
  api.cart = null
  api.requests = []
  storefront = new Storefront(createClient(), { url: "http://acme.localhost/" })
})
after(() => {
  server.closeAllConnections()
  server.close()
  api.stop()
})

const createClient = () =>
  new StoreApiClient({ server: apiUrl, database: { raw: async () => ({ rows: settings }) } })
const get = (path, headers = {}) => fetch(base + path, { headers, redirect: "manual" })
const post = (path, fields, headers = {}) =>
  fetch(base + path, {
    method: "POST",
    body: new URLSearchParams(fields),
    headers,
    redirect: "manual",
  })
const cookie = { cookie: "other=1; cart=cart_1" }
const fillCart = () => post("/cart", { variant: "variant_1", handle: "mug", quantity: "2" })

test("the product list escapes titles and descriptions", async () => {
  const answer = await get("/")
  const text = await answer.text()
  assert.equal(answer.status, 200)
  assert.match(text, /Mug &lt;b&gt;&amp; co/)
  assert.match(text, /Acme &lt;Goods&gt;/)
  assert.match(text, /from<\/span> €18\.00/)
  assert.match(text, /name="publishable-key" content="pk_test"/)
  assert.match(
    answer.headers.get("content-security-policy"),
    /default-src 'none'.*frame-ancestors 'none'/,
  )
  assert.ok(!text.includes("<script"))
})

test("every request to the Store API carries the key from the database", async () => {
  await get("/")
  assert.ok(api.requests.length > 1)
  assert.ok(api.requests.every(({ key }) => key === KEY))
})

test("settings without a publishable key are rejected with the reason", async () => {
  settings = []
  await assert.rejects(createClient().getSettings(), /no publishable key/)
})

test("a sold-out variant cannot be chosen", async () => {
  const text = await (await get("/products/mug")).text()
  assert.match(text, /value="variant_2" required\s+disabled/)
  assert.match(text, /value="variant_1" required checked/)
})

test("a purchase from cart to order", async () => {
  const added = await fillCart()
  assert.equal(added.status, 303)
  assert.match(
    added.headers.get("set-cookie"),
    /^cart=cart_1; Path=\/; Max-Age=\d+; HttpOnly; SameSite=Lax$/,
  )
  assert.equal(
    api.requests.find(({ call }) => call === "POST /store/carts").body.shipping_address
      .country_code,
    "de",
  )
  assert.match(await (await get("/cart", cookie)).text(), /€36\.00/)
  assert.match(await (await get("/checkout", cookie)).text(), /<option value="de" selected>/)
  const bought = await post("/checkout", BUYER, cookie)
  assert.equal(bought.headers.get("location"), "/orders/order_0123456789")
  assert.match(bought.headers.get("set-cookie"), /^cart=; .*Max-Age=0/)
  const provider = api.requests.find(({ call }) => call.endsWith("/payment-sessions")).body
    .provider_id
  assert.equal(provider, "pp_system_default")
  const order = await (await get("/orders/order_0123456789")).text()
  assert.match(order, /Thank you, Grace!/)
  assert.match(order, /<strong class="number">7</)
  assert.match(order, /Austria/)
})

test("submitting the checkout twice creates one order", async () => {
  await fillCart()
  await post("/checkout", BUYER, cookie)
  const again = await post("/checkout", BUYER, cookie)
  assert.equal(again.headers.get("location"), "/orders/order_0123456789")
})

test("an invalid checkout form is shown again and nothing is ordered", async () => {
  await fillCart()
  const answer = await post(
    "/checkout",
    { ...BUYER, email: "grace", city: "", address_1: `"><i>` },
    cookie,
  )
  const text = await answer.text()
  assert.equal(answer.status, 422)
  assert.match(text, /City is missing/)
  assert.match(text, /Enter an e-mail address/)
  assert.match(text, /value="&quot;&gt;&lt;i&gt;"/)
  assert.ok(!api.requests.some(({ call }) => call.endsWith("/complete")))
})

test("quantities above the stock and invalid quantities are rejected", async () => {
  const answer = await post("/cart", { variant: "variant_1", handle: "mug", quantity: "4" })
  assert.equal(answer.status, 422)
  assert.match(await answer.text(), /not enough items in stock/)
  for (const quantity of ["0", "1.5", "x", "1000"]) {
    assert.equal(
      (await post("/cart", { variant: "variant_1", handle: "mug", quantity })).status,
      422,
    )
  }
})

test("cart items are changed and removed", async () => {
  await fillCart()
  await post("/cart/items", { item: "cali_1", quantity: "3" }, cookie)
  assert.equal(api.cart.items[0].quantity, 3)
  await post("/cart/items", { item: "cali_1", quantity: "3", remove: "1" }, cookie)
  assert.equal(api.cart.items.length, 0)
  assert.match(await (await get("/cart", cookie)).text(), /Your cart is empty/)
})

test("forms from other sites are rejected", async () => {
  const bad = await post("/cart", { variant: "variant_1" }, { origin: "http://evil.example" })
  assert.equal(bad.status, 403)
  assert.equal(
    (await post("/cart", { variant: "variant_1" }, { "sec-fetch-site": "cross-site" })).status,
    403,
  )
  assert.equal(api.cart, null)
})

test("bodies of another type and too large forms are rejected", async () => {
  assert.equal(
    (
      await fetch(`${base}/cart`, {
        method: "POST",
        body: "{}",
        headers: { "content-type": "application/json" },
      })
    ).status,
    415,
  )
  assert.equal((await post("/cart", { variant: "x".repeat(70_000) })).status, 413)
})

test("unknown paths get the error page and Medusa's paths are passed on", async () => {
  assert.equal((await get("/nothing")).status, 404)
  assert.equal((await post("/", {})).status, 405)
  assert.equal((await get("/orders/order_unknown0000")).status, 404)
  for (const path of [
    "/store/products",
    "/admin/orders",
    "/auth/user/emailpass",
    "/app/",
    "/health",
  ]) {
    assert.equal((await get(path)).status, 418)
  }
})
