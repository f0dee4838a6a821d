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
const SETTINGS = [{ key: KEY, title: "Acme <Goods>", country: "de", has_region: true }]
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
  api.reset()
  storefront = new Storefront(createClient(), { url: "http://acme.localhost/" })
})
after(() => {
  server.closeAllConnections()
  server.close()
  api.stop()
})

const database = {
  raw: async (sql, values) =>
    sql.includes("order_cart") ? { rows: api.listOrdersOfCart(...values) } : { rows: settings },
}
const createClient = () => new StoreApiClient({ server: apiUrl, database })
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

test("a storefront that its owner has closed answers 503 on every page", async () => {
  for (const change of [{ is_closed: true }, { key: null }, { has_region: false }]) {
    settings = [{ ...SETTINGS[0], ...change }]
    storefront = new Storefront(createClient(), { url: "http://acme.localhost/" })
    for (const path of ["/", "/products/mug", "/cart", "/checkout", "/nothing"]) {
      const answer = await get(path, cookie)
      assert.equal(answer.status, 503, path)
      assert.ok(answer.headers.get("retry-after"))
      assert.match(await answer.text(), /Acme &lt;Goods&gt;[^]*closed at the moment/)
    }
    assert.equal((await fillCart()).status, 503)
  }
})

test("after the owner revoked the key the next page already uses the new one", async () => {
  await get("/")
  settings = [{ ...SETTINGS[0], key: "pk_new" }]
  api.key = "pk_new"
  assert.equal((await get("/")).status, 200)
  assert.equal(api.requests.at(-1).key, "pk_new")
})

test("after the owner replaced the region products are shown and open carts are ordered", async () => {
  await fillCart()
  api.region = "reg_2"
  api.cart.region = null
  assert.equal((await get("/")).status, 200)
  const bought = await post("/checkout", BUYER, cookie)
  assert.equal(bought.headers.get("location"), "/orders/order_0123456789")
  assert.equal(api.cart.region.id, "reg_2")
})

test("the product page shows every image once and the list is in a unique order", async () => {
  const text = await (await get("/products/mug")).text()
  const pictures = [...text.matchAll(/<img src="([^"]+)"/g)].map(([, url]) => url)
  assert.deepEqual(pictures, ["/assets/goods/mug.svg", "/static/back.jpg", "/static/top.jpg"])
  await get("/?from=24")
  const { query } = api.requests.findLast(({ call }) => call === "GET /store/products")
  assert.equal(query.get("order"), "id")
  assert.equal(query.get("offset"), "24")
})

test("a category beyond the first twelve has a page and a link", async () => {
  api.categories = Array.from({ length: 14 }, (_, index) => ({
    id: `c${index}`,
    name: `Kind ${index}`,
    handle: `kind-${index}`,
  }))
  assert.match(await (await get("/")).text(), /href="\/categories">All categories/)
  assert.match(await (await get("/categories")).text(), /href="\/categories\/kind-13"/)
  assert.equal((await get("/categories/kind-13")).status, 200)
  assert.equal((await get("/categories/none")).status, 404)
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
  assert.doesNotMatch(order, /e-?mail/i)
})

test("submitting the checkout again shows the order", async () => {
  await fillCart()
  const form = { ...BUYER, cart: "cart_1" }
  const answers = await Promise.all([1, 2, 3].map(() => post("/checkout", form, cookie)))
  answers.push(await post("/checkout", form, cookie)) // reloaded
  answers.push(await post("/checkout", form)) // after “back”, the cookie was deleted
  answers.push(await post("/checkout", form, { cookie: "cart=cart_2" })) // another cart meanwhile
  for (const answer of answers) {
    assert.equal(answer.headers.get("location"), "/orders/order_0123456789")
  }
  assert.equal(answers.at(-1).headers.get("set-cookie"), null)
  assert.equal(api.requests.filter(({ call }) => call.endsWith("/complete")).length, 1)
})

test("the form of another cart orders nothing", async () => {
  await fillCart()
  const answer = await post("/checkout", { ...BUYER, cart: "cart_0" }, cookie)
  assert.equal(answer.headers.get("location"), "/checkout")
  assert.ok(!api.requests.some(({ call }) => call.endsWith("/complete")))
})

test("an order that failed because another process placed it shows the order", async () => {
  await fillCart()
  api.completeElsewhere = true
  const answer = await post("/checkout", BUYER, cookie)
  assert.equal(answer.headers.get("location"), "/orders/order_0123456789")
})

test("a total that differs from the confirmed one is shown and not ordered", async () => {
  await fillCart()
  const page = await (await get("/checkout", cookie)).text()
  assert.match(page, /name="total-so_1" value="41"/)
  api.price = 20
  const form = { ...BUYER, cart: "cart_1", "total-so_1": "41" }
  const answer = await post("/checkout", form, cookie)
  assert.equal(answer.status, 422)
  const text = await answer.text()
  assert.match(text, /The total is now €45\.00/)
  assert.match(text, /name="total-so_1" value="45"/)
  assert.ok(!api.requests.some(({ call }) => call.endsWith("/complete")))
  const again = await post("/checkout", { ...form, "total-so_1": "45" }, cookie)
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
