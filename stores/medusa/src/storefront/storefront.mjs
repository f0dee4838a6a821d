/** The storefront: its URLs, their pages, and its forms. The pages need no JavaScript. */

import { CheckoutFlow } from "./checkout-flow.mjs"
import { renderCartPage } from "./checkout.mjs"
import { html } from "./html.mjs"
import { renderOrderPage } from "./order.mjs"
import { renderPage } from "./page-shell.mjs"
import { renderCategoriesPage, renderProductListPage, renderProductPage } from "./products.mjs"
import { describeRejection, parseQuantity } from "./quantities.mjs"
import {
  isSameOrigin,
  readCartId,
  readForm,
  redirectTo,
  sendPage,
  setCartCookie,
} from "./requests.mjs"
import { RequestRejected, StorefrontClosed } from "./store-api.mjs"

const PAGE_SIZE = 24
const OFFSET_MAX = 100_000
const REOPENS_AFTER_S = 3600

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
    ["GET", /^\/categories$/, (visit) => this.#showCategories(visit)],
    ["GET", /^\/categories\/([^/]{1,200})$/, (visit) => this.#showCategory(visit)],
    ["GET", /^\/products\/([^/]{1,200})$/, (visit) => this.#showProduct(visit)],
    ["GET", /^\/cart$/, (visit) => this.#showCart(visit)],
    ["POST", /^\/cart$/, (visit) => this.#addItem(visit)],
    ["POST", /^\/cart\/items$/, (visit) => this.#changeItem(visit)],
    ["GET", /^\/checkout$/, (visit) => this.checkout.showForm(visit)],
    ["POST", /^\/checkout$/, (visit) => this.checkout.submit(visit)],
    ["GET", /^\/orders\/(order_[A-Za-z0-9]{10,40})$/, (visit) => this.#showOrder(visit)],
  ]

  /** @param {import("./store-api.mjs").StoreApiClient} client @param {{ url: string }} store */
  constructor(client, store) {
    this.client = client
    this.secure = store.url.startsWith("https:")
    this.checkout = new CheckoutFlow({
      client,
      secure: this.secure,
      show: (...page) => this.#show(...page),
    })
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
      if (error instanceof StorefrontClosed) await this.#showClosed(visit)
      else if (!(error instanceof RequestRejected)) throw error
      else await this.#showMessage(visit, error.status, "That did not work", error.message)
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

  async #showCategories(/** @type {Visit} */ visit) {
    const main = renderCategoriesPage(await this.client.listCategories())
    await this.#show(visit, 200, { title: "Categories", main })
  }

  async #showCategory(/** @type {Visit} */ visit) {
    const found = await this.client.getCategory(visit.argument)
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

  async #showOrder(/** @type {Visit} */ visit) {
    const order = await this.client.getOrder(visit.argument)
    if (!order) throw new RequestRejected(404, "This order does not exist.")
    const page = { title: `Order ${order.display_id}`, main: renderOrderPage(order) }
    await this.#show(visit, 200, page)
  }

  /** Return the visitor's cart, or null if there is none or it was ordered. */
  #getOpenCart(/** @type {Visit} */ { request }) {
    return this.client.getOpenCart(readCartId(request))
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

  /** Show the page of a closed storefront; 503 means to search engines that it will be back. */
  async #showClosed(/** @type {Visit} */ { response }) {
    const { title } = await this.client.getSettings()
    const main = html`<section class="hero"><h1>We are closed at the moment</h1>
<p>This shop does not take orders now. Please come back later.</p></section>`
    const shell = { title, key: "", categories: [], count: 0 }
    response.setHeader("retry-after", String(REOPENS_AFTER_S))
    sendPage(response, 503, renderPage(shell, { title: "Closed", main, plain: true }))
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
