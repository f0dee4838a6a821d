/** What the storefront reads from the database: the owner's settings, and whether it is open. */

/**
 * The publishable key is the oldest valid one that has a sales channel; the owner may revoke it and
 * create another. The owner closes the storefront by the metadata `storefront: closed` of the store.
 */
export const SETTINGS = `
  SELECT s.name AS title, o.country, s.default_region_id AS region,
         lower(btrim(s.metadata ->> 'storefront')) IS NOT DISTINCT FROM 'closed' AS is_closed,
         EXISTS (SELECT FROM region WHERE deleted_at IS NULL) AS has_region,
         (SELECT k.token
            FROM api_key k
            JOIN publishable_api_key_sales_channel l
              ON l.publishable_key_id = k.id AND l.deleted_at IS NULL
            JOIN sales_channel c ON c.id = l.sales_channel_id AND c.deleted_at IS NULL
           WHERE k.type = 'publishable' AND k.deleted_at IS NULL
             AND (k.revoked_at IS NULL OR k.revoked_at > now())
           ORDER BY c.is_disabled, k.created_at, k.id LIMIT 1) AS key
    FROM store s CROSS JOIN storefleet_store o
   WHERE s.deleted_at IS NULL
   ORDER BY s.created_at LIMIT 1`

/**
 * Check whether the owner has closed the storefront: explicitly, or by removing what it cannot sell
 * without, the last publishable key or the last region.
 *
 * @param {Record<string, any>} settings a row of SETTINGS
 */
export const isClosed = ({ is_closed, key, has_region }) => is_closed || !key || !has_region
