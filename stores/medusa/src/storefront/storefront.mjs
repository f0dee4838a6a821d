/** The storefront: its URLs, their pages, and its forms. The pages need no JavaScript. */

import { renderCartPage, renderCheckoutPage, renderOrderPage } from "./checkout.mjs"
import { html } from "./html.mjs"
import { renderPage } from "./page-shell.mjs"
import { renderProductListPage, renderProductPage } from "./products.mjs"
import { completeCart, placeOrder, validateCheckout } from "./purchase.mjs"
import {
  isSameOrigin,
  readCartId,
  readForm,
  redirectTo,
  sendPage,
  setCartCookie,
} from "./requests.mjs"
import { RequestRejected } from "./store-api.mjs"

const PAGE_SIZE = 24
const OFFSET_MAX = 100_000
const QUANTITY_MAX = 99

/**
 * @typedef {import("node:http").IncomingMessage} Request
 * @typedef {import("node:http").ServerResponse} Response
 * @typedef {{ request: Request, response: Response, url: URL, argument: string }} Visit
 * @typedef {[string, RegExp, (visit: Visit) => Promise<void>]} Route
 */

export class Storefront {
  /** @type {Route[]} */
  #routes = [
    ["GET", /^\/$/, (visit) => this.#showHome(visit)],
    ["GET", /^\/categories\/([^/]{1,200})$/, (visit) => this.#showCategory(visit)],
    ["GET", /^\/products\/([^/]{1,200})$/, (visit) => this.#showProduct(visit)],
    ["GET", /^\/cart$/, (visit) => this.#showCart(visit)],
    ["POST", /^\/cart$/, (visit) => this.#addItem(visit)],
    ["POST", /^\/cart\/items$/, (visit) => this.#changeItem(visit)],
    ["GET", /^\/checkout$/, (visit) => this.#showCheckout(visit)],
    ["POST", /^\/checkout$/, (visit) => this.#submitCheckout(visit)],
    ["GET", /^\/orders\/(order_[A-Za-z0-9]{10,40})$/, (visit) => this.#showOrder(visit)],
  ]

  /** @param {import("./store-api.mjs").StoreApiClient} client @param {{ url: string }} store */
  constructor(client, store) {
    this.client = client
    this.secure = store.url.startsWith("https:")
  }

  /**
   * Answer a request for one of the storefront's URLs.
   *
   * @param {Request} request
   * @param {Response} response
   * @returns {Promise<boolean>} whether it was answered
   */
  async handleRequest(request, response) {
    const url = new URL(request.url ?? "/", "http://store")
    const method = request.method === "HEAD" ? "GET" : request.method
    const routes = this.#routes.filter(([, pattern]) => pattern.test(url.pathname))
    const route = routes.find(([verb]) => verb === method)
    if (!routes.length && !this.#ownsPath(url.pathname)) return false
    const visit = { request, response, url, argument: "" }
    try {
      if (!routes.length) {
        const text = "The address may be outdated or mistyped."
        await this.#showMessage(visit, 404, "Page not found", text)
      } else if (!route) {
        const text = "This page does not support that kind of request."
        await this.#showMessage(visit, 405, "Method not allowed", text)
      } else await this.#runRoute(route, visit)
    } catch (error) {
      if (!(error instanceof RequestRejected)) throw error
      await this.#showMessage(visit, error.status, "That did not work", error.message)
    }
    return true
  }

  /** Every path that is not Medusa's, so that a mistyped one gets the storefront's error page. */
  #ownsPath(/** @type {string} */ path) {
    return !/^\/(store|admin|auth|hooks|cloud|health|static|app)(\/|$)/.test(path)
  }

  async #runRoute(/** @type {Route} */ [verb, pattern, show], /** @type {Visit} */ visit) {
    if (verb === "POST" && !isSameOrigin(visit.request)) {
      throw new RequestRejected(403, "This form was sent from another site.")
    }
    try {
      visit.argument = decodeURIComponent(pattern.exec(visit.url.pathname)?.[1] ?? "")
    } catch {
      throw new RequestRejected(404, "This page does not exist.")
    }
    await show(visit)
  }

  async #showHome(/** @type {Visit} */ visit) {
    const words = (visit.url.searchParams.get("q") ?? "").slice(0, 80).trim()
    const heading = words ? `“${words}”` : "Everyday objects, made well"
    const text = words ? "" : "Order now and pay in cash when your order arrives."
    const current = words ? undefined : ""
    await this.#showProductList(visit, { heading, text, words, path: "/", current })
  }

  async #showCategory(/** @type {Visit} */ visit) {
    const categories = await this.client.listCategories()
    const found = categories.find((/** @type {any} */ each) => each.handle === visit.argument)
    if (!found) throw new RequestRejected(404, "This category does not exist.")
    await this.#showProductList(visit, {
      heading: found.name,
      text: found.description,
      category: found.id,
      path: `/categories/${found.handle}`,
      current: found.handle,
    })
  }

  async #showProductList(
    /** @type {Visit} */ visit,
    /** @type {any} */ { heading, text, words, category, path, current },
  ) {
    const from = Number.parseInt(visit.url.searchParams.get("from") ?? "0", 10) || 0
    const offset = Math.min(Math.max(0, from), OFFSET_MAX)
    const filter = { words, category, offset, limit: PAGE_SIZE }
    const { products, count } = await this.client.listProducts(filter)
    const list = { heading, text, products, count, offset, limit: PAGE_SIZE, path, words }
    const page = { title: words || category ? heading : "", main: renderProductListPage(list) }
    await this.#show(visit, 200, page, { words, current })
  }

  async #showProduct(/** @type {Visit} */ visit) {
    const product = await this.client.getProduct(visit.argument)
    if (!product) {
      throw new RequestRejected(404, "This product does not exist or is no longer sold.")
    }
    await this.#show(visit, 200, { title: product.title, main: renderProductPage(product) })
  }

  async #showCart(/** @type {Visit} */ visit) {
    const cart = await this.#getOpenCart(visit)
    await this.#show(visit, 200, { title: "Cart", main: renderCartPage(cart) }, { cart })
  }

  async #addItem(/** @type {Visit} */ visit) {
    const { variant = "", handle = "", quantity } = await readForm(visit.request)
    try {
      const cart = (await this.#getOpenCart(visit)) ?? (await this.client.createCart())
      const item = { variant_id: variant, quantity: parseQuantity(quantity) }
      await this.client.post(`/store/carts/${cart.id}/line-items`, item)
      setCartCookie(visit.response, cart.id, this.secure)
    } catch (error) {
      if (!(error instanceof RequestRejected)) throw error
      const product = await this.client.getProduct(handle)
      if (!product) throw error
      const main = renderProductPage(product, { problem: describeRejection(error) })
      return this.#show(visit, 422, { title: product.title, main })
    }
    redirectTo(visit.response, "/cart")
  }

  async #changeItem(/** @type {Visit} */ visit) {
    const { item = "", quantity, remove } = await readForm(visit.request)
    const cart = await this.#getOpenCart(visit)
    if (!cart?.items.some((/** @type {any} */ each) => each.id === item)) {
      return redirectTo(visit.response, "/cart")
    }
    const path = `/store/carts/${cart.id}/line-items/${item}`
    try {
      if (remove) await this.client.delete(path)
      else await this.client.post(path, { quantity: parseQuantity(quantity) })
    } catch (error) {
      if (!(error instanceof RequestRejected)) throw error
      const main = renderCartPage(cart, { problem: describeRejection(error) })
      return this.#show(visit, 422, { title: "Cart", main }, { cart })
    }
    redirectTo(visit.response, "/cart")
  }

  async #showCheckout(/** @type {Visit} */ visit) {
    const cart = await this.#getOpenCart(visit)
    if (!cart?.items.length) return redirectTo(visit.response, "/cart")
    const { country } = await this.client.getSettings()
    const values = { country_code: cart.shipping_address?.country_code ?? country }
    await this.#showCheckoutForm(visit, 200, cart, values, {})
  }

  async #showCheckoutForm(
    /** @type {Visit} */ visit,
    /** @type {number} */ status,
    /** @type {any} */ cart,
    /** @type {Record<string, string>} */ values,
    /** @type {Record<string, string>} */ problems,
  ) {
    const { countries, deliveries } = await this.#listCheckoutOptions(cart)
    const main = renderCheckoutPage({ cart, deliveries, countries, values, problems })
    await this.#show(visit, status, { title: "Checkout", main, plain: true }, { cart })
  }

  async #listCheckoutOptions(/** @type {any} */ cart) {
    const [{ countries }, deliveries] = await Promise.all([
      this.client.getRegion(),
      this.client.listShippingOptions(cart.id),
    ])
    const sorted = [...countries].sort((a, b) => a.display_name.localeCompare(b.display_name))
    return { deliveries, countries: sorted }
  }

  async #submitCheckout(/** @type {Visit} */ visit) {
    const id = readCartId(visit.request)
    const cart = id ? await this.client.getCart(id) : null
    if (cart?.completed_at) {
      return this.#finishPurchase(visit, await completeCart(this.client, cart.id))
    }
    if (!cart?.items.length) return redirectTo(visit.response, "/cart")
    const values = await readForm(visit.request)
    const problems = validateCheckout(values, await this.#listCheckoutOptions(cart))
    if (Object.keys(problems).length) {
      return this.#showCheckoutForm(visit, 422, cart, values, problems)
    }
    try {
      this.#finishPurchase(visit, await placeOrder(this.client, cart, values))
    } catch (error) {
      if (!(error instanceof RequestRejected)) throw error
      await this.#showCheckoutForm(visit, 422, cart, values, { "": describeRejection(error) })
    }
  }

  #finishPurchase(/** @type {Visit} */ { response }, /** @type {string} */ order) {
    setCartCookie(response, "", this.secure)
    redirectTo(response, `/orders/${order}`)
  }

  async #showOrder(/** @type {Visit} */ visit) {
    const order = await this.client.getOrder(visit.argument)
    if (!order) throw new RequestRejected(404, "This order does not exist.")
    const { countries } = await this.client.getRegion()
    const page = { title: `Order ${order.display_id}`, main: renderOrderPage(order, countries) }
    await this.#show(visit, 200, page)
  }

  /** Return the visitor's cart, or null if there is none or it was ordered. */
  async #getOpenCart(/** @type {Visit} */ { request }) {
    const id = readCartId(request)
    const cart = id ? await this.client.getCart(id) : null
    return cart?.completed_at ? null : cart
  }

  async #show(
    /** @type {Visit} */ visit,
    /** @type {number} */ status,
    /** @type {any} */ page,
    /** @type {any} */ context = {},
  ) {
    const [{ title, key }, categories, cart] = await Promise.all([
      this.client.getSettings(),
      page.plain ? [] : this.client.listCategories(),
      "cart" in context ? context.cart : this.#getOpenCart(visit),
    ])
    const count = countItems(cart)
    const shell = { title, key, categories, count, words: context.words, current: context.current }
    sendPage(visit.response, status, renderPage(shell, page))
  }

  async #showMessage(
    /** @type {Visit} */ visit,
    /** @type {number} */ status,
    /** @type {string} */ heading,
    /** @type {string} */ text,
  ) {
    const main = html`<section class="hero"><h1>${heading}</h1><p>${text}</p>
<p><a class="button" href="/">To the shop</a></p></section>`
    const page = { title: heading, main }
    await this.#show(visit, status >= 400 ? status : 400, page, { cart: null })
  }
}

/** @param {any} cart */
function countItems(cart) {
  const items = /** @type {{ quantity: number }[]} */ (cart?.items ?? [])
  return items.reduce((sum, item) => sum + item.quantity, 0)
}

/** @param {string | undefined} text */
function parseQuantity(text) {
  const value = Number(text ?? "1")
  if (!Number.isInteger(value) || value < 1) {
    throw new RequestRejected(422, "Enter the quantity as a whole number from 1.")
  }
  if (value > QUANTITY_MAX) {
    throw new RequestRejected(422, `The quantity is limited to ${QUANTITY_MAX} per item.`)
  }
  return value
}

/** Replace Medusa's message about stock by one for customers. @param {RequestRejected} error */
function describeRejection(error) {
  if (/inventory|stock/i.test(error.message)) {
    return "There are not enough items in stock. Choose a smaller quantity or another product."
  }
  return error.message
}
