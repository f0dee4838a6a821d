/** `orders`: list the orders since a time, newest first; restoring an older dump loses them. */

import { writeResult } from "./backups.mjs"
import { ConfigurationError, readConfiguration } from "./configuration.mjs"
import { writeLog } from "./logs.mjs"
import { withDatabase } from "./postgres.mjs"

const LISTED_ORDERS = 20
const ORDERS = `
  SELECT o.display_id AS number, o.created_at AS at, upper(o.currency_code) AS currency,
         count(*) OVER () AS count,
         round((s.totals ->> 'current_order_total')::numeric, 2) AS total
    FROM "order" o
    LEFT JOIN LATERAL (SELECT totals FROM order_summary WHERE order_id = o.id AND deleted_at IS NULL
                       ORDER BY version DESC LIMIT 1) s ON true
   WHERE o.created_at > $1 AND o.deleted_at IS NULL AND NOT o.is_draft_order
   ORDER BY o.created_at DESC LIMIT ${LISTED_ORDERS}`

export async function run() {
  const since = new Date(process.env.STOREFLEET_SINCE ?? "")
  if (Number.isNaN(since.getTime())) {
    throw new ConfigurationError("STOREFLEET_SINCE is not a time. Use the format of RFC 3339.")
  }
  const { rows } = await withDatabase(readConfiguration().database, (client) =>
    client.query(ORDERS, [since]),
  )
  const orders = rows.map(({ number, total, currency, at }) => ({
    number: String(number),
    total: total === null ? "" : `${total} ${currency}`,
    at: at.toISOString(),
  }))
  const count = Number(rows[0]?.count ?? 0)
  writeResult({ count, orders })
  writeLog("info", "Orders counted", { count, since: since.toISOString() })
}
