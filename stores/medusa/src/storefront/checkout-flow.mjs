/**
 * The checkout: its form, and what happens when it is submitted. A cart is ordered once: of several
 * submissions, also simultaneous ones, each shows the same order.
 */

import { renderCheckoutPage } from "./checkout.mjs"
import { PriceChanged, placeOrder, validateCheckout } from "./purchase.mjs"
import { describeRejection } from "./quantities.mjs"
import { readCartId, readForm, redirectTo, setCartCookie } from "./requests.mjs"
import { RequestRejected } from "./store-api.mjs"

/**
 * @typedef {import("./storefront.mjs").Visit} Visit
 * @typedef {Record<string, any>} Any
 * @typedef {{ order: string } | { problems: Record<string, string>, cart: Any | null }} Outcome
 */

const CART_ID = /^[A-Za-z0-9_]{1,64}$/

export class CheckoutFlow {
  /** The submissions in progress, by cart. @type {Map<string, Promise<Outcome>>} */
  #running = new Map()

  /**
   * @param {{ client: import("./store-api.mjs").StoreApiClient, secure: boolean,
   *   show: (visit: Visit, status: number, page: Any, context: Any) => Promise<void> }} services
   */
  constructor({ client, secure, show }) {
    this.client = client
    this.secure = secure
    this.show = show
  }

  async showForm(/** @type {Visit} */ visit) {
    const cart = await this.client.getOpenCart(readCartId(visit.request))
    if (!cart?.items.length) return redirectTo(visit.response, "/cart")
    const { country } = await this.client.getSettings()
    const values = { country_code: cart.shipping_address?.country_code ?? country }
    await this.#showForm(visit, 200, { cart, values, problems: {} })
  }

  async submit(/** @type {Visit} */ visit) {
    const values = await readForm(visit.request)
    const current = readCartId(visit.request)
    const id = CART_ID.test(values.cart ?? "") ? values.cart : current
    const known = id ? await this.client.findOrderOfCart(id) : null
    if (known) return this.#finish(visit, known, id === current)
    // The page is older than the visitor's cart: show the cart instead of ordering something else.
    if (!current || id !== current) return redirectTo(visit.response, "/checkout")
    const outcome = await this.#placeOnce(id, values)
    if ("order" in outcome) return this.#finish(visit, outcome.order, true)
    const { problems, cart } = outcome
    if (!cart?.items.length) return redirectTo(visit.response, "/cart")
    await this.#showForm(visit, 422, { cart, values, problems })
  }

  /** Join the submission of the same cart that is in progress, or start one. */
  #placeOnce(/** @type {string} */ id, /** @type {Record<string, string>} */ values) {
    let running = this.#running.get(id)
    if (!running) {
      running = this.#place(id, values).finally(() => this.#running.delete(id))
      this.#running.set(id, running)
    }
    return running
  }

  /** @param {string} id @param {Record<string, string>} values @returns {Promise<Outcome>} */
  async #place(id, values) {
    const cart = await this.client.getOpenCart(id)
    try {
      if (cart?.items.length) {
        const problems = validateCheckout(values, await this.#listOptions(cart))
        if (Object.keys(problems).length) return { problems, cart }
        return { order: await placeOrder(this.client, cart, values) }
      }
    } catch (error) {
      if (!(error instanceof RequestRejected)) throw error
      const order = await this.client.findOrderOfCart(id)
      if (order) return { order }
      const changed = error instanceof PriceChanged ? error.cart : await this.client.getCart(id)
      return { problems: { "": describeRejection(error) }, cart: changed }
    }
    // Meanwhile another process has ordered or emptied the cart.
    const order = await this.client.findOrderOfCart(id)
    return order ? { order } : { problems: {}, cart: null }
  }

  async #showForm(
    /** @type {Visit} */ visit,
    /** @type {number} */ status,
    /** @type {{ cart: Any, values: Any, problems: Record<string, string> }} */ form,
  ) {
    const main = renderCheckoutPage({ ...form, ...(await this.#listOptions(form.cart)) })
    const { cart } = form
    await this.show(visit, status, { title: "Checkout", main, plain: true }, { cart })
  }

  async #listOptions(/** @type {Any} */ cart) {
    const [region, deliveries] = await Promise.all([
      cart.region?.countries?.length ? cart.region : this.client.getRegion(),
      this.client.listShippingOptions(cart.id),
    ])
    const compare = (/** @type {Any} */ a, /** @type {Any} */ b) =>
      a.display_name.localeCompare(b.display_name)
    return { deliveries, countries: [...region.countries].sort(compare) }
  }

  #finish(
    /** @type {Visit} */ { response },
    /** @type {string} */ order,
    /** @type {boolean} */ isCurrentCart,
  ) {
    if (isCurrentCart) setCartCookie(response, "", this.secure)
    redirectTo(response, `/orders/${order}`)
  }
}
