/** Which mails follow from which event of Medusa, and the data that they need. */

import {
  renderAccountMail,
  renderInviteMail,
  renderNewOrderMail,
  renderOrderMail,
  renderPasswordMail,
  renderPaymentMail,
  renderVerificationMail,
} from "./messages.mjs"

/** @typedef {Record<string, any>} Any */
/** @typedef {{ graph: (query: Any) => Promise<{ data: Any[] }> }} Query */
/** @typedef {{ to: string, from: string, subject: string, text: string, html: string }} Mail */

const USERS_MAX = 20
const ORDER_FIELDS = [
  ...["id", "display_id", "email", "currency_code", "created_at", "is_draft_order"],
  ...["total", "shipping_subtotal", "shipping_total", "tax_total"],
  ...["discount_subtotal", "discount_total"],
  ...["items.*", "shipping_address.*", "shipping_methods.*"],
]

/**
 * Composers by event; each returns the mails without their sender.
 *
 * @type {Record<string, (data: Any, context: Any) => Promise<Any[]>>}
 */
export const EVENTS = {
  "order.placed": composePlacedOrder,
  "order.canceled": (data, context) => composeOrderNews("canceled", data, context),
  "order.completed": (data, context) => composeOrderNews("completed", data, context),
  "order.return_requested": (data, context) => composeOrderNews("return_requested", data, context),
  "order.return_received": (data, context) => composeOrderNews("return_received", data, context),
  "order.claim_created": (data, context) => composeOrderNews("claim_created", data, context),
  "order.exchange_created": (data, context) => composeOrderNews("exchange_created", data, context),
  "order.transfer_requested": (data, context) =>
    composeOrderNews("transfer_requested", data, context),
  "order-edit.requested": (data, context) => composeOrderNews("edit_requested", data, context),
  "order-edit.confirmed": (data, context) => composeOrderNews("edit_confirmed", data, context),
  "order-edit.canceled": (data, context) => composeOrderNews("edit_canceled", data, context),
  "shipment.created": (data, context) => composeShipment("shipped", data, context),
  "delivery.created": (data, context) => composeShipment("delivered", data, context),
  "payment.captured": (data, context) => composePayment("captured", data, context),
  "payment.refunded": (data, context) => composePayment("refunded", data, context),
  "auth.password_reset": composePasswordReset,
  "auth.verification_requested": composeVerification,
  "invite.created": composeInvite,
  "invite.resent": composeInvite,
  "customer.created": composeAccount,
}

/**
 * Compose the mails that follow from an event.
 *
 * @param {{ name: string, data: Any }} event
 * @param {{ query: Query, store: Any }} services
 * @returns {Promise<Mail[]>}
 */
export async function composeMails({ name, data }, { query, store }) {
  if (data.no_notification) return []
  const [settings] = (await query.graph({ entity: "store", fields: ["name"] })).data
  const shop = { title: settings?.name ?? store.name, url: store.url.replace(/\/$/, "") }
  const title = shop.title.replace(/["<>\\]/g, "")
  const from = `"${title}" <shop@${store.host}>`
  const mails = await EVENTS[name](data, { query, shop })
  return mails.filter(({ to }) => to).map((mail) => ({ ...mail, from }))
}

/** @param {Query} query @param {string} id */
async function findOrder(query, id) {
  const { data } = await query.graph({ entity: "order", fields: ORDER_FIELDS, filters: { id } })
  return data[0]
}

/** @param {Any} data @param {{ query: Query, shop: Any }} context */
async function composePlacedOrder({ id }, { query, shop }) {
  const order = await findOrder(query, id)
  if (!order) return []
  const pagination = { take: USERS_MAX, order: { created_at: "ASC" } }
  const { data: users } = await query.graph({ entity: "user", fields: ["email"], pagination })
  return [
    { to: order.email, ...renderOrderMail("placed", order, shop) },
    ...users.map(({ email }) => ({ to: email, ...renderNewOrderMail(order, shop) })),
  ]
}

/** @param {string} news @param {Any} data @param {{ query: Query, shop: Any }} context */
async function composeOrderNews(news, data, { query, shop }) {
  const order = await findOrder(query, data.order_id ?? data.id)
  return order ? [{ to: order.email, ...renderOrderMail(news, order, shop) }] : []
}

/** @param {string} news @param {Any} data @param {{ query: Query, shop: Any }} context */
async function composeShipment(news, { id }, { query, shop }) {
  const fields = ["id", "labels.*", "order.id"]
  const { data } = await query.graph({ entity: "fulfillment", fields, filters: { id } })
  const order = data[0]?.order && (await findOrder(query, data[0].order.id))
  if (!order) return []
  const labels = (data[0].labels ?? []).filter((/** @type {Any} */ label) => label.tracking_number)
  return [{ to: order.email, ...renderOrderMail(news, order, shop, labels) }]
}

/** @param {string} news @param {Any} data @param {{ query: Query, shop: Any }} context */
async function composePayment(news, { id }, { query, shop }) {
  const fields = ["id", "currency_code", "amount", "captures.*", "refunds.*"]
  const { data } = await query.graph({
    entity: "payment",
    fields: [...fields, "payment_collection.order.id"],
    filters: { id },
  })
  const found = data[0]?.payment_collection?.order
  const order = found && (await findOrder(query, found.id))
  return order ? [{ to: order.email, ...renderPaymentMail(news, data[0], order, shop) }] : []
}

/** @param {Any} data @param {{ shop: Any }} context */
async function composePasswordReset({ entity_id, token, actor_type }, { shop }) {
  return [{ to: entity_id, ...renderPasswordMail({ email: entity_id, token, actor_type }, shop) }]
}

/** @param {Any} data @param {{ shop: Any }} context */
async function composeVerification({ entity_id, code }, { shop }) {
  if (!code || !entity_id?.includes("@")) return []
  return [{ to: entity_id, ...renderVerificationMail({ email: entity_id, code }, shop) }]
}

/** @param {Any} data @param {{ query: Query, shop: Any }} context */
async function composeInvite({ id }, { query, shop }) {
  const fields = ["email", "token"]
  const { data } = await query.graph({ entity: "invite", fields, filters: { id } })
  return data.map((invite) => ({ to: invite.email, ...renderInviteMail(invite, shop) }))
}

/** Guests get no mail: they have ordered, not registered. */
async function composeAccount(
  /** @type {Any} */ { id },
  /** @type {{ query: Query, shop: Any }} */ { query, shop },
) {
  const fields = ["email", "first_name", "has_account"]
  const { data } = await query.graph({ entity: "customer", fields, filters: { id } })
  return data
    .filter((customer) => customer.has_account)
    .map((customer) => ({ to: customer.email, ...renderAccountMail(customer, shop) }))
}
