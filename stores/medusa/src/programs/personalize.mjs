/**
 * Turn a copy of the template database into one store's own: administrator, publishable key, name,
 * currency and country.
 */

import { createHash, randomBytes } from "node:crypto"
import scrypt from "scrypt-kdf"
import { readSecret } from "./configuration.mjs"

/** The parameters of Medusa's own password sign-in. */
const SCRYPT_COST = { logN: 15, r: 8, p: 1 }

/**
 * Personalize the database, once in its life: later changes by the store's owner are kept.
 *
 * @param {import("pg").Client} client in a transaction
 * @param {Readonly<Record<string, any>>} store
 */
export async function personalizeDatabase(client, store) {
  const { country, currency, title } = store.parameters
  const inserted = await client.query(
    "INSERT INTO storefleet_store (store_id, country) VALUES ($1, $2) ON CONFLICT DO NOTHING",
    [store.store_id, country.toLowerCase()],
  )
  if (inserted.rowCount === 0) return
  await createAdministrator(client, store)
  await replacePublishableKey(client)
  const name = title ?? store.name
  await client.query("UPDATE store SET name = $1, updated_at = now()", [name])
  await client.query("UPDATE sales_channel SET name = $1, updated_at = now()", [name])
  await setCurrency(client, currency.toLowerCase())
  await client.query("UPDATE stock_location_address SET country_code = $1, updated_at = now()", [
    country.toLowerCase(),
  ])
}

async function createAdministrator(
  /** @type {import("pg").Client} */ client,
  /** @type {Readonly<Record<string, any>>} */ store,
) {
  const email = readSecret(store.admin.username_file, "the administrator's name").toLowerCase()
  const plainText = readSecret(store.admin.password_file, "the administrator's password")
  const password = (await scrypt.kdf(plainText, SCRYPT_COST)).toString("base64")
  // Derived from the store's id: it is no secret, and it is the same in every retry.
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

/** Replace the template's key, which is in every image and so must not open any store. */
async function replacePublishableKey(/** @type {import("pg").Client} */ client) {
  const token = `pk_${randomBytes(32).toString("hex")}`
  const redacted = `${token.slice(0, 6)}***${token.slice(-3)}`
  const { rowCount } = await client.query(
    `UPDATE api_key SET token = $1, redacted = $2, created_at = now(), updated_at = now()
      WHERE type = 'publishable'`,
    [token, redacted],
  )
  if (rowCount !== 1) {
    throw new Error(
      `The template has ${rowCount} publishable keys instead of one. Build the image again.`,
    )
  }
}

async function setCurrency(
  /** @type {import("pg").Client} */ client,
  /** @type {string} */ currency,
) {
  await client.query("UPDATE region SET currency_code = $1, updated_at = now()", [currency])
  await client.query(
    "UPDATE store_currency SET is_default = currency_code = $1, updated_at = now()",
    [currency],
  )
  await client.query(
    `UPDATE store SET default_region_id = (SELECT id FROM region LIMIT 1),
                      default_location_id = (SELECT id FROM stock_location LIMIT 1)`,
  )
}
