/** Client of Medusa's Store API, with the publishable key that the database currently has. */

import { SETTINGS, isClosed } from "./settings.mjs"

/** The owner has closed the storefront. */
export class StorefrontClosed extends Error {}

/** Medusa or the storefront rejected a request; the message is shown to the customer. */
export class RequestRejected extends Error {
  /** @param {number} status @param {string} message @param {string} [type] */
  constructor(status, message, type = "") {
    super(message)
    this.status = status
    this.type = type
  }
}

const REQUEST_TIMEOUT_MS = 20_000
const REJECTED_KEY = /valid publishable key|publishable key needs to have a sales channel/i
const CACHE_DURATION_MS = 15_000
const REGIONS_MAX = 100
const CATEGORIES_MAX = 100
const CATEGORY_FIELDS = "id,name,handle,description"
const PRODUCT_FIELDS =
  "*variants.calculated_price,+variants.inventory_quantity,+variants.manage_inventory," +
  "*categories,*images"
const CART_FIELDS =
  "+completed_at,*items,*items.product,*shipping_methods,*shipping_address,*payment_collection," +
  "*region,*region.countries"
const ORDER_FIELDS =
  "id,display_id,email,currency_code,created_at,subtotal,item_subtotal,item_total," +
  "shipping_subtotal,shipping_total,discount_subtotal,discount_total,tax_total,total," +
  "*items,*shipping_address,*shipping_methods,*payment_collections.payments"

/** @typedef {{ raw: (sql: string, values?: any[]) => Promise<{ rows: any[] }> }} Database */

export class StoreApiClient {
  static USER_AGENT = "storefront"

  /**
   * @param {{ server: string, database: Database }} options
   *   `server` is the base URL of Medusa; `database` reads settings and finds orders
   */
  constructor({ server, database }) {
    this.server = server
    this.database = database
    this.cachedSettings = { until: 0, value: /** @type {Record<string, string> | null} */ (null) }
    this.cachedRegion = { until: 0, value: /** @type {Record<string, any> | null} */ (null) }
  }

  /** Return the store's title, country and publishable key; the administrator may change them. */
  async getSettings() {
    if (!this.cachedSettings.value || this.cachedSettings.until < Date.now()) {
      const { rows } = await this.database.raw(SETTINGS)
      if (!rows[0]) throw new Error("The database has no settings. Run the set-up again.")
      this.cachedSettings = { until: Date.now() + CACHE_DURATION_MS, value: rows[0] }
    }
    return /** @type {Record<string, any>} */ (this.cachedSettings.value)
  }

  /** Return the settings unless the owner has closed the storefront. */
  async getOpenSettings() {
    const settings = await this.getSettings()
    if (isClosed(settings)) throw new StorefrontClosed("The owner has closed the storefront.")
    return settings
  }

  /** Return the store's default region with its countries, or the oldest if that was deleted. */
  async getRegion() {
    if (!this.cachedRegion.value || this.cachedRegion.until < Date.now()) {
      const query = `fields=id,currency_code,*countries&limit=${REGIONS_MAX}&order=created_at`
      const { regions } = await this.get(`/store/regions?${query}`)
      const { region } = await this.getSettings()
      const value = regions.find((/** @type {any} */ each) => each.id === region) ?? regions[0]
      if (!value) throw new StorefrontClosed("The store has no region to deliver to.")
      this.cachedRegion = { until: Date.now() + CACHE_DURATION_MS, value }
    }
    return /** @type {Record<string, any>} */ (this.cachedRegion.value)
  }

  /** List the categories by their rank, at most 100. */
  async listCategories() {
    const path = `/store/product-categories?limit=${CATEGORIES_MAX}&fields=${CATEGORY_FIELDS}`
    const { product_categories } = await this.get(path)
    return product_categories
  }

  /** @param {string} handle @returns {Promise<Record<string, any> | null>} */
  async getCategory(handle) {
    const query = new URLSearchParams({ handle, fields: CATEGORY_FIELDS, limit: "1" })
    return (await this.get(`/store/product-categories?${query}`)).product_categories[0] ?? null
  }

  /** @param {{ words?: string, category?: string, offset?: number, limit?: number }} filter */
  async listProducts({ words = "", category = "", offset = 0, limit = 24 }) {
    return this.#findProducts({
      limit: String(limit),
      offset: String(offset),
      // Unique, so that no product is on two pages or on none; ids begin with the time of creation.
      order: "id",
      ...(words ? { q: words } : {}),
      ...(category ? { category_id: category } : {}),
    })
  }

  /** @param {string} handle */
  async getProduct(handle) {
    return (await this.#findProducts({ handle, limit: "1" })).products[0] ?? null
  }

  /**
   * Find products with their prices in the region, which the owner may just have deleted.
   *
   * @param {Record<string, string>} filter
   * @returns {Promise<{ products: Record<string, any>[], count: number }>}
   */
  async #findProducts(filter) {
    const find = async (/** @type {string} */ region_id) => {
      const query = new URLSearchParams({ ...filter, region_id, fields: PRODUCT_FIELDS })
      return this.get(`/store/products?${query}`)
    }
    const { id } = await this.getRegion()
    try {
      return await find(id)
    } catch (error) {
      if (!(error instanceof RequestRejected)) throw error
      this.cachedRegion.until = 0
      const current = await this.getRegion()
      if (current.id === id) throw error
      return await find(current.id)
    }
  }

  /** @param {string} id @returns {Promise<Record<string, any> | null>} null if it does not exist */
  async getCart(id) {
    try {
      return (await this.get(`/store/carts/${encodeURIComponent(id)}?fields=${CART_FIELDS}`)).cart
    } catch (error) {
      if (error instanceof RequestRejected && error.status === 404) return null
      throw error
    }
  }

  /**
   * Return a cart, or null if it does not exist or was ordered. If the owner has deleted its region,
   * it continues in the current one, with the prices there.
   *
   * @param {string} id
   */
  async getOpenCart(id) {
    const cart = id ? await this.getCart(id) : null
    if (!cart || cart.completed_at) return null
    if (cart.region) return cart
    this.cachedRegion.until = 0
    await this.post(`/store/carts/${cart.id}`, { region_id: (await this.getRegion()).id })
    return this.getCart(cart.id)
  }

  async createCart() {
    const region = await this.getRegion()
    const { country } = await this.getSettings()
    const body = { region_id: region.id, shipping_address: { country_code: country } }
    return (await this.post("/store/carts", body)).cart
  }

  /** Return the id of the order that a cart has become, or null. @param {string} cart */
  async findOrderOfCart(cart) {
    const query = "SELECT order_id FROM order_cart WHERE cart_id = ? AND deleted_at IS NULL"
    return (await this.database.raw(query, [cart])).rows[0]?.order_id ?? null
  }

  /** @param {string} cart */
  async listShippingOptions(cart) {
    const path = `/store/shipping-options?cart_id=${encodeURIComponent(cart)}`
    return (await this.get(path)).shipping_options
  }

  /** @param {string} id */
  async getOrder(id) {
    try {
      return (await this.get(`/store/orders/${encodeURIComponent(id)}?fields=${ORDER_FIELDS}`))
        .order
    } catch (error) {
      if (error instanceof RequestRejected && error.status === 404) return null
      throw error
    }
  }

  /** @param {string} path */
  get(path) {
    return this.#sendRequest("GET", path)
  }

  /** @param {string} path @param {Record<string, any>} [body] */
  post(path, body = {}) {
    return this.#sendRequest("POST", path, body)
  }

  /** @param {string} path */
  delete(path) {
    return this.#sendRequest("DELETE", path)
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {Record<string, any>} [body]
   * @returns {Promise<any>}
   */
  async #sendRequest(method, path, body) {
    try {
      return await this.#sendWithKey((await this.getOpenSettings()).key, method, path, body)
    } catch (error) {
      const isKeyRejected = error instanceof RequestRejected && REJECTED_KEY.test(error.message)
      if (!isKeyRejected) throw error
      // The owner has revoked the key: read the current one.
      this.cachedSettings.until = 0
      return await this.#sendWithKey((await this.getOpenSettings()).key, method, path, body)
    }
  }

  /**
   * @param {string} key
   * @param {string} method
   * @param {string} path
   * @param {Record<string, any>} [body]
   * @returns {Promise<any>}
   */
  async #sendWithKey(key, method, path, body) {
    const response = await fetch(this.server + path, {
      method,
      headers: {
        "x-publishable-api-key": key,
        "user-agent": StoreApiClient.USER_AGENT,
        ...(body ? { "content-type": "application/json" } : {}),
      },
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    })
    const answer = await response.json().catch(() => ({}))
    if (response.ok) return answer
    const message = answer.message ?? "The shop rejected the request. Please try again."
    throw new RequestRejected(response.status, message, answer.type)
  }
}
