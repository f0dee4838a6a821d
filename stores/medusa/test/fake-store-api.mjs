/** A fake Store API with one product; it records the storefront's requests. */

import { createServer } from "node:http"
import { once } from "node:events"

export const KEY = "pk_test"
const price = { calculated_amount: 18, currency_code: "eur" }
export const MUG = {
  id: "prod_1",
  handle: "mug",
  title: "Mug <b>& co",
  description: "Round",
  thumbnail: "/assets/goods/mug.svg",
  images: [
    { url: "/static/top.jpg", rank: 2 },
    { url: "/assets/goods/mug.svg", rank: 0 },
    { url: "/static/back.jpg", rank: 1 },
  ],
  options: [{ title: "Glaze" }],
  variants: [
    {
      id: "variant_1",
      title: "Pine",
      calculated_price: price,
      manage_inventory: true,
      inventory_quantity: 3,
    },
    {
      id: "variant_2",
      title: "Oat",
      calculated_price: { ...price, calculated_amount: 20 },
      manage_inventory: true,
      inventory_quantity: 0,
    },
  ],
}
const REGION = {
  id: "reg_1",
  currency_code: "eur",
  countries: [
    { iso_2: "de", display_name: "Germany" },
    { iso_2: "at", display_name: "Austria" },
  ],
}

export class FakeStoreApi {
  constructor() {
    this.reset()
    this.server = createServer((request, response) => this.#handleRequest(request, response))
  }

  /** Forget everything that a test has changed. */
  reset() {
    this.requests = []
    this.cart = null
    this.order = null
    this.key = KEY
    this.price = 18
    this.region = REGION.id
    this.categories = [{ id: "c", name: "Kitchen", handle: "kitchen" }]
    this.completeElsewhere = false
  }

  listOrdersOfCart(id) {
    return this.order && id === "cart_1" ? [{ order_id: this.order.id }] : []
  }

  async start() {
    this.server.listen(0, "127.0.0.1")
    await once(this.server, "listening")
    return `http://127.0.0.1:${this.server.address().port}`
  }

  stop() {
    this.server.closeAllConnections()
    this.server.close()
  }

  async #handleRequest(request, response) {
    let text = ""
    for await (const part of request) text += part
    const body = text ? JSON.parse(text) : {}
    const { pathname, searchParams } = new URL(request.url, "http://x")
    this.requests.push({
      call: `${request.method} ${pathname}`,
      key: request.headers["x-publishable-api-key"],
      body,
      query: searchParams,
    })
    const isAllowed = request.headers["x-publishable-api-key"] === this.key
    const [status, answer] = isAllowed
      ? this.#buildAnswer(request.method, pathname, body, searchParams)
      : [400, { type: "not_allowed", message: "A valid publishable key is required" }]
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(answer))
  }

  #buildAnswer(method, path, body, query) {
    if (path === "/store/regions") return [200, { regions: [{ ...REGION, id: this.region }] }]
    if (path === "/store/product-categories")
      return [200, { product_categories: this.#findCategories(query.get("handle")) }]
    if (path === "/store/products" && query.get("region_id") !== this.region)
      return [400, { message: "Region was not found" }]
    if (path === "/store/products") return [200, { products: [MUG], count: 1 }]
    if (path === "/store/shipping-options")
      return [200, { shipping_options: [{ id: "so_1", name: "Standard", amount: 5, type: {} }] }]
    if (path === "/store/orders/order_0123456789") return [200, { order: this.order }]
    if (path === "/store/payment-collections")
      return [200, { payment_collection: { id: "paycol_1" } }]
    if (path.startsWith("/store/payment-collections/")) return [200, {}]
    return path.startsWith("/store/carts")
      ? this.#answerCartRequest(method, path, body)
      : [404, { message: "not found" }]
  }

  #findCategories(handle) {
    return this.categories.filter((each) => handle === null || each.handle === handle)
  }

  #answerCartRequest(method, path, body) {
    if (path === "/store/carts") {
      this.cart = {
        id: "cart_1",
        currency_code: "eur",
        items: [],
        region: { id: body.region_id },
        item_subtotal: 0,
        shipping_address: body.shipping_address,
      }
      return [200, { cart: this.cart }]
    }
    if (!this.cart || !path.startsWith("/store/carts/cart_1"))
      return [404, { message: "cart not found" }]
    if (path.endsWith("/line-items")) return this.#addItem(body)
    if (path.endsWith("/complete")) return this.#completeCart()
    if (path.endsWith("/shipping-methods")) {
      this.cart.shipping_methods = [{ shipping_option_id: body.option_id }]
    } else if (method === "DELETE") this.cart.items = []
    else if (path.includes("/line-items/")) this.cart.items[0].quantity = body.quantity
    else Object.assign(this.cart, body, body.region_id ? { region: { id: body.region_id } } : {})
    this.#computeTotals()
    return [200, { cart: this.cart }]
  }

  #addItem({ variant_id, quantity }) {
    if (variant_id !== "variant_1" || quantity > 3) {
      return [
        400,
        { type: "not_allowed", message: "Some variant does not have the required inventory" },
      ]
    }
    this.cart.items.push({
      id: "cali_1",
      product_title: MUG.title,
      product_handle: "mug",
      variant_title: "Pine",
      unit_price: 18,
      quantity,
    })
    return [200, { cart: this.cart }]
  }

  #computeTotals() {
    const goods = this.cart.items.reduce((sum, item) => sum + this.price * item.quantity, 0)
    const delivery = this.cart.shipping_methods ? 5 : 0
    Object.assign(this.cart, {
      item_subtotal: goods,
      shipping_total: delivery,
      total: goods + delivery,
    })
  }

  #completeCart() {
    this.cart.completed_at = "2026-01-01T00:00:00Z"
    const { items, shipping_address, email } = this.cart
    this.order = {
      id: "order_0123456789",
      display_id: 7,
      currency_code: "eur",
      items,
      shipping_address,
      email,
      item_subtotal: 36,
      shipping_total: 5,
      total: 41,
      tax_total: 0,
    }
    return this.completeElsewhere
      ? [422, { message: "An unknown error occurred." }]
      : [200, { type: "order", order: this.order }]
  }
}
