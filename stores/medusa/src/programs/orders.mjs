/** `orders`: those that came in after a moment, newest first: what putting an older dump back would lose. */

import { tell } from "./backups.mjs"
import { ConfigurationError, configuration } from "./configuration.mjs"
import { line } from "./lines.mjs"
import { withDatabase } from "./postgres.mjs"

const SHOWN = 20
const ORDERS = `
  SELECT o.display_id AS number, o.created_at AS at, upper(o.currency_code) AS currency, count(*) OVER () AS count,
         round((s.totals ->> 'current_order_total')::numeric, 2) AS total
    FROM "order" o
    LEFT JOIN LATERAL (SELECT totals FROM order_summary WHERE order_id = o.id AND deleted_at IS NULL
                       ORDER BY version DESC LIMIT 1) s ON true
   WHERE o.created_at > $1 AND o.deleted_at IS NULL AND NOT o.is_draft_order
   ORDER BY o.created_at DESC LIMIT ${SHOWN}`

export async function run() {
  const since = new Date(process.env.STOREFLEET_SINCE ?? "")
  if (Number.isNaN(since.getTime())) throw new ConfigurationError("STOREFLEET_SINCE has to be a time, as in RFC 3339.")
  const { rows } = await withDatabase(configuration().database, (client) => client.query(ORDERS, [since]))
  const orders = rows.map(({ number, total, currency, at }) => ({
    number: String(number),
    total: total === null ? "" : `${total} ${currency}`,
    at: at.toISOString(),
  }))
  const count = Number(rows[0]?.count ?? 0)
  tell({ count, orders })
  line("info", "orders counted", { count, since: since.toISOString() })
}
