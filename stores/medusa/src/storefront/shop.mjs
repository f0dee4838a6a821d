/** The shop as its storefront sees it: Medusa's Store API, asked with the key that the database has now. */

/** Medusa refused: what it says is meant for whoever asked. */
export class Refused extends Error {
  /** @param {number} status @param {string} message @param {string} [type] */
  constructor(status, message, type = "") {
    super(message)
    this.status = status
    this.type = type
  }
}

const PATIENCE = 20_000
const FRESH = 15_000
const SETTINGS = `
  SELECT k.token AS key, s.name AS title, o.country
    FROM api_key k CROSS JOIN store s CROSS JOIN storefleet_store o
   WHERE k.type = 'publishable' AND k.deleted_at IS NULL AND (k.revoked_at IS NULL OR k.revoked_at > now())
   ORDER BY k.created_at LIMIT 1`
const PRODUCT_FIELDS = "*variants.calculated_price,+variants.inventory_quantity,+variants.manage_inventory,*categories"
const CART_FIELDS = "+completed_at,*items,*items.product,*shipping_methods,*shipping_address,*payment_collection"
const ORDER_FIELDS =
  "id,display_id,email,currency_code,created_at,subtotal,item_subtotal,item_total,shipping_total,tax_total,total," +
  "*items,*shipping_address,*shipping_methods,*payment_collections.payments"

export class Shop {
  static AGENT = "storefront"

  /** @param {{ server: string, database: { raw: (sql: string) => Promise<{ rows: any[] }> } }} where */
  constructor({ server, database }) {
    this.server = server
    this.database = database
    this.settings_ = { until: 0, value: /** @type {Record<string, string> | null} */ (null) }
    this.region_ = { until: 0, value: /** @type {Record<string, any> | null} */ (null) }
  }

  /** Name and key as they are now: the administrator may change both. */
  async settings() {
    if (!this.settings_.value || this.settings_.until < Date.now()) {
      const { rows } = await this.database.raw(SETTINGS)
      if (!rows[0]) throw new Refused(503, "The shop has no publishable key: its administrator can make one.")
      this.settings_ = { until: Date.now() + FRESH, value: rows[0] }
    }
    return /** @type {Record<string, string>} */ (this.settings_.value)
  }

  async region() {
    if (!this.region_.value || this.region_.until < Date.now()) {
      const { regions } = await this.get("/store/regions?limit=1&fields=id,currency_code,*countries")
      if (!regions[0]) throw new Refused(503, "The shop delivers nowhere yet: its administrator can add a region.")
      this.region_ = { until: Date.now() + FRESH, value: regions[0] }
    }
    return /** @type {Record<string, any>} */ (this.region_.value)
  }

  async categories() {
    const { product_categories } = await this.get("/store/product-categories?limit=12&fields=id,name,handle,description")
    return product_categories
  }

  /** @param {{ words?: string, category?: string, offset?: number, limit?: number }} which */
  async products({ words = "", category = "", offset = 0, limit = 24 }) {
    const query = new URLSearchParams({
      region_id: (await this.region()).id,
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
  async product(handle) {
    const query = new URLSearchParams({ handle, region_id: (await this.region()).id, fields: PRODUCT_FIELDS, limit: "1" })
    return (await this.get(`/store/products?${query}`)).products[0] ?? null
  }

  /** @param {string} id @returns {Promise<Record<string, any> | null>} null when there is none */
  async cart(id) {
    try {
      return (await this.get(`/store/carts/${encodeURIComponent(id)}?fields=${CART_FIELDS}`)).cart
    } catch (error) {
      if (error instanceof Refused && error.status === 404) return null
      throw error
    }
  }

  async newCart() {
    const [region, { country }] = [await this.region(), await this.settings()]
    return (await this.post("/store/carts", { region_id: region.id, shipping_address: { country_code: country } })).cart
  }

  /** @param {string} cart */
  async deliveries(cart) {
    return (await this.get(`/store/shipping-options?cart_id=${encodeURIComponent(cart)}`)).shipping_options
  }

  /** @param {string} id */
  async order(id) {
    try {
      return (await this.get(`/store/orders/${encodeURIComponent(id)}?fields=${ORDER_FIELDS}`)).order
    } catch (error) {
      if (error instanceof Refused && error.status === 404) return null
      throw error
    }
  }

  /** @param {string} path */
  get(path) {
    return this.#ask("GET", path)
  }

  /** @param {string} path @param {Record<string, any>} [body] */
  post(path, body = {}) {
    return this.#ask("POST", path, body)
  }

  /** @param {string} path */
  remove(path) {
    return this.#ask("DELETE", path)
  }

  /** @param {string} method @param {string} path @param {Record<string, any>} [body] @returns {Promise<any>} */
  async #ask(method, path, body) {
    const { key } = await this.settings()
    const response = await fetch(this.server + path, {
      method,
      headers: {
        "x-publishable-api-key": key,
        "user-agent": Shop.AGENT,
        ...(body ? { "content-type": "application/json" } : {}),
      },
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(PATIENCE),
    })
    const answer = await response.json().catch(() => ({}))
    if (response.ok) return answer
    if (response.status === 400 && answer.type === "not_allowed") this.settings_.until = 0 // the key may have been revoked
    throw new Refused(response.status, answer.message ?? "The shop could not do that.", answer.type)
  }
}
