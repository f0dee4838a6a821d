/** What makes a copy of the template one store's own: its first administrator, its key, its name, currency and country. */

import { createHash, randomBytes } from "node:crypto"
import scrypt from "scrypt-kdf"
import { secret } from "./configuration.mjs"

/** As Medusa's own sign-in by password makes them. */
const COST = { logN: 15, r: 8, p: 1 }

/**
 * Once in a database's life: what its owner has changed since stays so.
 *
 * @param {import("pg").Client} client in a transaction
 * @param {Readonly<Record<string, any>>} store
 */
export async function makeOwn(client, store) {
  const { country, currency, title } = store.parameters
  const made = await client.query(
    "INSERT INTO storefleet_store (store_id, country) VALUES ($1, $2) ON CONFLICT DO NOTHING",
    [store.store_id, country.toLowerCase()],
  )
  if (made.rowCount === 0) return
  await makeAdmin(client, store)
  await makeKey(client)
  await client.query("UPDATE store SET name = $1, updated_at = now()", [title ?? store.name])
  await client.query("UPDATE sales_channel SET name = $1, updated_at = now()", [title ?? store.name])
  await charge(client, currency.toLowerCase())
  await client.query("UPDATE stock_location_address SET country_code = $1, updated_at = now()", [country.toLowerCase()])
}

async function makeAdmin(/** @type {import("pg").Client} */ client, /** @type {Readonly<Record<string, any>>} */ store) {
  const email = secret(store.admin.username_file, "the administrator's name").toLowerCase()
  const word = secret(store.admin.password_file, "the administrator's password")
  const password = (await scrypt.kdf(word, COST)).toString("base64")
  // Derived from the store's id: not a secret, and the same in every try.
  const id = createHash("sha256").update(store.store_id).digest("hex").slice(0, 26).toUpperCase()
  await client.query(`INSERT INTO "user" (id, email) VALUES ($1, $2)`, [`user_${id}`, email])
  await client.query("INSERT INTO auth_identity (id, app_metadata) VALUES ($1, $2)", [
    `authid_${id}`,
    { user_id: `user_${id}` },
  ])
  await client.query(
    `INSERT INTO provider_identity (id, entity_id, provider, auth_identity_id, provider_metadata)
     VALUES ($1, $2, 'emailpass', $3, $4)`,
    [id, email, `authid_${id}`, { password }],
  )
}

/** The template's key is in every image: no store answers to it. */
async function makeKey(/** @type {import("pg").Client} */ client) {
  const token = `pk_${randomBytes(32).toString("hex")}`
  const redacted = `${token.slice(0, 6)}***${token.slice(-3)}`
  const { rowCount } = await client.query(
    "UPDATE api_key SET token = $1, redacted = $2, created_at = now(), updated_at = now() WHERE type = 'publishable'",
    [token, redacted],
  )
  if (rowCount !== 1) throw new Error(`The template has ${rowCount} publishable keys instead of one: build it again.`)
}

async function charge(/** @type {import("pg").Client} */ client, /** @type {string} */ currency) {
  await client.query("UPDATE region SET currency_code = $1, updated_at = now()", [currency])
  await client.query("UPDATE store_currency SET is_default = currency_code = $1, updated_at = now()", [currency])
  await client.query(
    "UPDATE store SET default_region_id = (SELECT id FROM region LIMIT 1), default_location_id = (SELECT id FROM stock_location LIMIT 1)",
  )
}
