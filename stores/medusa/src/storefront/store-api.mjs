/** Client of Medusa's Store API, with the publishable key that the database currently has. */

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
const CACHE_DURATION_MS = 15_000
const SETTINGS = `
  SELECT k.token AS key, s.name AS title, o.country
    FROM api_key k CROSS JOIN store s CROSS JOIN storefleet_store o
   WHERE k.type = 'publishable' AND k.deleted_at IS NULL
     AND (k.revoked_at IS NULL OR k.revoked_at > now())
   ORDER BY k.created_at LIMIT 1`
const PRODUCT_FIELDS =
  "*variants.calculated_price,+variants.inventory_quantity,+variants.manage_inventory,*categories"
const CART_FIELDS =
  "+completed_at,*items,*items.product,*shipping_methods,*shipping_address,*payment_collection"
const ORDER_FIELDS =
  "id,display_id,email,currency_code,created_at,subtotal,item_subtotal,item_total," +
  "shipping_total,tax_total,total," +
  "*items,*shipping_address,*shipping_methods,*payment_collections.payments"

export class StoreApiClient {
  static USER_AGENT = "storefront"

  /**
   * @param {{ server: string, database: { raw: (sql: string) => Promise<{ rows: any[] }> } }} options
   *   `server` is the base URL of Medusa; `database` reads the publishable key
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
      if (!rows[0])
        throw new RequestRejected(
          503,
          "This shop has no publishable key. Its administrator can create one in the admin.",
        )
      this.cachedSettings = { until: Date.now() + CACHE_DURATION_MS, value: rows[0] }
    }
    return /** @type {Record<string, string>} */ (this.cachedSettings.value)
  }

  /** Return the store's region with its countries. */
  async getRegion() {
    if (!this.cachedRegion.value || this.cachedRegion.until < Date.now()) {
      const { regions } = await this.get(
        "/store/regions?limit=1&fields=id,currency_code,*countries",
      )
      if (!regions[0])
        throw new RequestRejected(
          503,
          "This shop has no region to deliver to. Its administrator can add one in the admin.",
        )
      this.cachedRegion = { until: Date.now() + CACHE_DURATION_MS, value: regions[0] }
    }
    return /** @type {Record<string, any>} */ (this.cachedRegion.value)
  }

  async listCategories() {
    const fields = "id,name,handle,description"
    const path = `/store/product-categories?limit=12&fields=${fields}`
    const { product_categories } = await this.get(path)
    return product_categories
  }

  /** @param {{ words?: string, category?: string, offset?: number, limit?: number }} filter */
  async listProducts({ words = "", category = "", offset = 0, limit = 24 }) {
    const query = new URLSearchParams({
      region_id: (await this.getRegion()).id,
      fields: PRODUCT_FIELDS,
      limit: String(limit),
      offset: String(offset),
      order: "created_at",
      ...(words ? { q: words } : {}),
      ...(category ? { category_id: category } : {}),
    })
    return this.get(`/store/products?${query}`)
  }

  /** @param {string} handle */
  async getProduct(handle) {
    const query = new URLSearchParams({
      handle,
      region_id: (await this.getRegion()).id,
      fields: PRODUCT_FIELDS,
      limit: "1",
    })
    return (await this.get(`/store/products?${query}`)).products[0] ?? null
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

  async createCart() {
    const region = await this.getRegion()
    const { country } = await this.getSettings()
    const body = { region_id: region.id, shipping_address: { country_code: country } }
    return (await this.post("/store/carts", body)).cart
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
    const { key } = await this.getSettings()
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
    // The key may have been revoked: read it again before the next request.
    if (response.status === 400 && answer.type === "not_allowed") this.cachedSettings.until = 0
    const message = answer.message ?? "The shop rejected the request. Please try again."
    throw new RequestRejected(response.status, message, answer.type)
  }
}
