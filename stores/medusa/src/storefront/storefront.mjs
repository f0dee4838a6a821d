/** The shop's pages: which address shows what, and what forms do. They need no script. */

import { cartPage, checkoutPage, orderPage } from "./checkout.mjs"
import { goodsPage, productPage } from "./goods.mjs"
import { html } from "./html.mjs"
import { layout } from "./layout.mjs"
import { buy, complete, problemsOf } from "./purchase.mjs"
import { cartOf, fields, go, isOwn, keepCart, show } from "./requests.mjs"
import { Refused } from "./shop.mjs"

const LIMIT = 24
const MOST = 99

/**
 * @typedef {import("node:http").IncomingMessage} Request
 * @typedef {import("node:http").ServerResponse} Response
 * @typedef {{ request: Request, response: Response, url: URL, argument: string }} Visit
 */

export class Storefront {
  /** @type {[string, RegExp, (visit: Visit) => Promise<void>][]} */
  #routes = [
    ["GET", /^\/$/, (visit) => this.#list(visit)],
    ["GET", /^\/categories\/([^/]{1,200})$/, (visit) => this.#category(visit)],
    ["GET", /^\/products\/([^/]{1,200})$/, (visit) => this.#product(visit)],
    ["GET", /^\/cart$/, (visit) => this.#cart(visit)],
    ["POST", /^\/cart$/, (visit) => this.#add(visit)],
    ["POST", /^\/cart\/items$/, (visit) => this.#change(visit)],
    ["GET", /^\/checkout$/, (visit) => this.#checkout(visit)],
    ["POST", /^\/checkout$/, (visit) => this.#buy(visit)],
    ["GET", /^\/orders\/(order_[A-Za-z0-9]{10,40})$/, (visit) => this.#order(visit)],
  ]

  /** @param {import("./shop.mjs").Shop} shop @param {{ url: string }} store */
  constructor(shop, store) {
    this.shop = shop
    this.secure = store.url.startsWith("https:")
  }

  /** @param {Request} request @param {Response} response @returns {Promise<boolean>} whether the address is one of the shop's pages */
  async answer(request, response) {
    const url = new URL(request.url ?? "/", "http://shop")
    const method = request.method === "HEAD" ? "GET" : request.method
    const same = this.#routes.filter(([, pattern]) => pattern.test(url.pathname))
    const route = same.find(([verb]) => verb === method)
    if (!route && !same.length && !this.#isMine(url.pathname)) return false
    const visit = { request, response, url, argument: "" }
    try {
      if (!same.length) await this.#say(visit, 404, "There is no such page", "The address may be old, or mistyped.")
      else if (!route) await this.#say(visit, 405, "Not like this", "This address is for forms, or only for looking at.")
      else await this.#go(route, visit)
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      await this.#say(visit, error.status, "That did not work", error.message)
    }
    return true
  }

  /** Whatever is not Medusa's, so that a mistyped address is answered by the shop. */
  #isMine(/** @type {string} */ path) {
    return !/^\/(store|admin|auth|hooks|cloud|health|static|app)(\/|$)/.test(path)
  }

  async #go(/** @type {[string, RegExp, (visit: Visit) => Promise<void>]} */ [verb, pattern, work], /** @type {Visit} */ visit) {
    if (verb === "POST" && !isOwn(visit.request)) throw new Refused(403, "This form was not sent from the shop's own page.")
    try {
      visit.argument = decodeURIComponent(pattern.exec(visit.url.pathname)?.[1] ?? "")
    } catch {
      throw new Refused(404, "There is no such page.")
    }
    await work(visit)
  }

  async #list(/** @type {Visit} */ visit) {
    const words = (visit.url.searchParams.get("q") ?? "").slice(0, 80).trim()
    const heading = words ? `“${words}”` : "Good things, made well"
    const text = words ? "" : "A small range of everyday objects. Order now, pay in cash when they arrive."
    await this.#goods(visit, { heading, text, words, path: "/", current: words ? undefined : "" })
  }

  async #category(/** @type {Visit} */ visit) {
    const found = (await this.shop.categories()).find((/** @type {any} */ each) => each.handle === visit.argument)
    if (!found) throw new Refused(404, "There is no such category.")
    const { name, description, id, handle } = found
    await this.#goods(visit, { heading: name, text: description, category: id, path: `/categories/${handle}`, current: handle })
  }

  async #goods(/** @type {Visit} */ visit, /** @type {any} */ { heading, text, words, category, path, current }) {
    const offset = Math.min(Math.max(0, Number.parseInt(visit.url.searchParams.get("from") ?? "0", 10) || 0), 100_000)
    const { products, count } = await this.shop.products({ words, category, offset, limit: LIMIT })
    const main = goodsPage({ heading, text, products, count, offset, limit: LIMIT, path, words })
    const title = words || category ? heading : ""
    await this.#show(visit, 200, { title, main }, { words, current })
  }

  async #product(/** @type {Visit} */ visit) {
    const product = await this.shop.product(visit.argument)
    if (!product) throw new Refused(404, "There is no such product; it may have been taken out of the range.")
    await this.#show(visit, 200, { title: product.title, main: productPage(product) })
  }

  async #cart(/** @type {Visit} */ visit) {
    const cart = await this.#open(visit)
    await this.#show(visit, 200, { title: "Cart", main: cartPage(cart) }, { cart })
  }

  async #add(/** @type {Visit} */ visit) {
    const { variant = "", handle = "", quantity } = await fields(visit.request)
    try {
      const cart = (await this.#open(visit)) ?? (await this.shop.newCart())
      await this.shop.post(`/store/carts/${cart.id}/line-items`, { variant_id: variant, quantity: amount(quantity) })
      keepCart(visit.response, cart.id, this.secure)
    } catch (error) {
      const product = error instanceof Refused ? await this.shop.product(handle) : null
      if (!product) throw error
      const main = productPage(product, { problem: kind(/** @type {Refused} */ (error)) })
      return this.#show(visit, 422, { title: product.title, main })
    }
    go(visit.response, "/cart")
  }

  async #change(/** @type {Visit} */ visit) {
    const { item = "", quantity, remove } = await fields(visit.request)
    const cart = await this.#open(visit)
    if (!cart?.items.some((/** @type {any} */ each) => each.id === item)) return go(visit.response, "/cart")
    const path = `/store/carts/${cart.id}/line-items/${item}`
    try {
      await (remove ? this.shop.remove(path) : this.shop.post(path, { quantity: amount(quantity) }))
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      return this.#show(visit, 422, { title: "Cart", main: cartPage(cart, { problem: kind(error) }) }, { cart })
    }
    go(visit.response, "/cart")
  }

  async #checkout(/** @type {Visit} */ visit) {
    const cart = await this.#open(visit)
    if (!cart?.items.length) return go(visit.response, "/cart")
    const { country } = await this.shop.settings()
    await this.#ask(visit, 200, cart, { country_code: cart.shipping_address?.country_code ?? country }, {})
  }

  async #ask(
    /** @type {Visit} */ visit,
    /** @type {number} */ status,
    /** @type {any} */ cart,
    /** @type {Record<string, string>} */ values,
    /** @type {Record<string, string>} */ problems,
  ) {
    const { countries, deliveries } = await this.#offered(cart)
    const main = checkoutPage({ cart, deliveries, countries, values, problems })
    await this.#show(visit, status, { title: "Checkout", main, plain: true }, { cart })
  }

  async #offered(/** @type {any} */ cart) {
    const [{ countries }, deliveries] = await Promise.all([this.shop.region(), this.shop.deliveries(cart.id)])
    return { deliveries, countries: [...countries].sort((a, b) => a.display_name.localeCompare(b.display_name)) }
  }

  async #buy(/** @type {Visit} */ visit) {
    const id = cartOf(visit.request)
    const cart = id ? await this.shop.cart(id) : null
    if (cart?.completed_at) return this.#bought(visit, await complete(this.shop, cart.id))
    if (!cart?.items.length) return go(visit.response, "/cart")
    const values = await fields(visit.request)
    const problems = problemsOf(values, await this.#offered(cart))
    if (Object.keys(problems).length) return this.#ask(visit, 422, cart, values, problems)
    try {
      this.#bought(visit, await buy(this.shop, cart, values))
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      await this.#ask(visit, 422, cart, values, { "": kind(error) })
    }
  }

  #bought(/** @type {Visit} */ { response }, /** @type {string} */ order) {
    keepCart(response, "", this.secure)
    go(response, `/orders/${order}`)
  }

  async #order(/** @type {Visit} */ visit) {
    const order = await this.shop.order(visit.argument)
    if (!order) throw new Refused(404, "There is no such order.")
    const { countries } = await this.shop.region()
    await this.#show(visit, 200, { title: `Order ${order.display_id}`, main: orderPage(order, countries) })
  }

  /** The visitor's cart as long as it can be filled. */
  async #open(/** @type {Visit} */ { request }) {
    const id = cartOf(request)
    const cart = id ? await this.shop.cart(id) : null
    return cart?.completed_at ? null : cart
  }

  async #show(/** @type {Visit} */ visit, /** @type {number} */ status, /** @type {any} */ page, /** @type {any} */ frame = {}) {
    const [{ title, key }, categories, cart] = await Promise.all([
      this.shop.settings(),
      page.plain ? [] : this.shop.categories(),
      "cart" in frame ? frame.cart : this.#open(visit),
    ])
    const count = (cart?.items ?? []).reduce((/** @type {number} */ sum, /** @type {any} */ item) => sum + item.quantity, 0)
    show(visit.response, status, layout({ title, key, categories, count, words: frame.words, current: frame.current }, page))
  }

  async #say(/** @type {Visit} */ visit, /** @type {number} */ status, /** @type {string} */ heading, /** @type {string} */ text) {
    const main = html`<section class="hero"><h1>${heading}</h1><p>${text}</p><p><a class="button" href="/">To the shop</a></p></section>`
    await this.#show(visit, status >= 400 ? status : 400, { title: heading, main }, { cart: null })
  }
}

/** @param {string | undefined} text */
function amount(text) {
  const value = Number(text ?? "1")
  if (!Number.isInteger(value) || value < 1) throw new Refused(422, "Say how many: a whole number from 1.")
  if (value > MOST) throw new Refused(422, `At most ${MOST} of one kind in one order.`)
  return value
}

/** @param {Refused} error */
function kind(error) {
  if (/inventory|stock/i.test(error.message)) return "There are not so many left: take fewer, or something else."
  return error.message
}
