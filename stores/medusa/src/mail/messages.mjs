/** The texts of the store's mails, each as plain text and as HTML. */

import { formatAddress, getCountryName } from "../storefront/addresses.mjs"
import { formatMoney, html } from "../storefront/html.mjs"
import { listAdjustments } from "../storefront/order.mjs"

/** @typedef {Record<string, any>} Any */
/** @typedef {{ title: string, url: string }} Shop */

/** What happened to an order: the subject's end, and a sentence. @type {Record<string, string[]>} */
const NEWS = {
  placed: ["", "Thank you for your order. We have received it."],
  canceled: ["was cancelled", "Your order was cancelled. You have nothing to pay for it."],
  completed: ["is complete", "Your order is complete. Thank you for shopping with us."],
  shipped: ["is on its way", "Your order is on its way to you."],
  delivered: ["was delivered", "Your order was delivered."],
  return_requested: ["– return requested", "We have received your request for a return."],
  return_received: ["– return received", "We have received the items that you returned."],
  claim_created: ["– claim opened", "We have opened a claim for your order."],
  exchange_created: ["– exchange opened", "We have opened an exchange for your order."],
  transfer_requested: [
    "– transfer requested",
    "A transfer of this order to another account was requested.",
  ],
  edit_requested: ["– change requested", "A change of your order was requested."],
  edit_confirmed: ["was changed", "Your order was changed. It now contains:"],
  edit_canceled: ["– change withdrawn", "The requested change of your order was withdrawn."],
}

/** @param {string} news @param {Any} order @param {Shop} shop @param {Any[]} [labels] of parcels */
export function renderOrderMail(news, order, shop, labels = []) {
  const [ending, sentence] = NEWS[news]
  const subject = ["Your order", order.display_id, ending].filter(Boolean).join(" ")
  const greeting = order.shipping_address?.first_name
    ? `Hello ${order.shipping_address.first_name},`
    : "Hello,"
  const tracking = labels.map((label) => `Tracking number: ${label.tracking_number}`)
  const link = { url: `${shop.url}/orders/${order.id}`, text: "See your order" }
  return renderMail({ subject, shop, lines: [greeting, sentence, ...tracking], order, link })
}

/** Render the owner's notice of a new order. @param {Any} order @param {Shop} shop */
export function renderNewOrderMail(order, shop) {
  const subject = `New order ${order.display_id}: ${formatMoney(order.total, order.currency_code)}`
  const lines = [`${order.email} has placed order ${order.display_id}.`]
  const link = { url: `${shop.url}/app/orders/${order.id}`, text: "Open the order in the admin" }
  return renderMail({ subject, shop, lines, order, link })
}

/** @param {string} news @param {Any} payment @param {Any} order @param {Shop} shop */
export function renderPaymentMail(news, payment, order, shop) {
  const isRefund = news === "refunded"
  const parts = (isRefund ? payment.refunds : payment.captures) ?? []
  const last = [...parts].sort((a, b) => String(a.created_at).localeCompare(String(b.created_at)))
  const amount = formatMoney(last.at(-1)?.amount ?? payment.amount, payment.currency_code)
  const subject = `Your order ${order.display_id}: ${isRefund ? "refund" : "payment received"}`
  const lines = [
    isRefund
      ? `We have refunded ${amount} for your order ${order.display_id}.`
      : `We have received your payment of ${amount} for your order ${order.display_id}. Thank you.`,
  ]
  const link = { url: `${shop.url}/orders/${order.id}`, text: "See your order" }
  return renderMail({ subject, shop, lines, link })
}

/** @param {{ email: string, token: string, actor_type: string }} reset @param {Shop} shop */
export function renderPasswordMail({ email, token, actor_type }, shop) {
  const subject = `Reset your password for ${shop.title}`
  const start = `Somebody asked to reset the password of ${email}.`
  const end = "If it was not you, ignore this mail: your password stays as it is."
  if (actor_type !== "user") {
    return renderMail({ subject, shop, lines: [start, "Your reset code is:", token, end] })
  }
  const parameters = new URLSearchParams({ token, email })
  const link = {
    url: `${shop.url}/app/reset-password?${parameters}`,
    text: "Choose a new password",
  }
  return renderMail({ subject, shop, lines: [start, end], link })
}

/** @param {{ email: string, code: string }} request @param {Shop} shop */
export function renderVerificationMail({ email, code }, shop) {
  const lines = [`The code that verifies ${email} is:`, code]
  return renderMail({ subject: `Verify your e-mail address for ${shop.title}`, shop, lines })
}

/** @param {{ token: string }} invite @param {Shop} shop */
export function renderInviteMail({ token }, shop) {
  const link = {
    url: `${shop.url}/app/invite?${new URLSearchParams({ token })}`,
    text: "Accept the invitation",
  }
  const lines = [`You are invited to help to run ${shop.title}.`]
  return renderMail({ subject: `Invitation to ${shop.title}`, shop, lines, link })
}

/** @param {{ first_name?: string }} customer @param {Shop} shop */
export function renderAccountMail({ first_name }, shop) {
  const lines = [first_name ? `Hello ${first_name},` : "Hello,", "Your account was created."]
  return renderMail({ subject: `Your account at ${shop.title}`, shop, lines })
}

/**
 * Render a mail in both forms.
 *
 * @param {{ subject: string, shop: Shop, lines: string[], order?: Any,
 *   link?: { url: string, text: string } }} content
 */
function renderMail({ subject, shop, lines, order, link }) {
  const rows = order ? listOrderRows(order) : []
  const address = order?.shipping_address ? writeAddress(order.shipping_address) : []
  const text = [
    ...lines.flatMap((line) => [line, ""]),
    ...rows.map(([name, value]) => `${name}: ${value}`),
    ...(rows.length ? [""] : []),
    ...(address.length ? ["Delivery to:", ...address, ""] : []),
    ...(link ? [`${link.text}: ${link.url}`, ""] : []),
    shop.title,
    shop.url,
  ].join("\n")
  const page = html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${subject}</title></head>
<body style="font-family: sans-serif; line-height: 1.5; max-width: 36em">
${lines.map((line) => html`<p>${line}</p>\n`)}${
    rows.length
      ? html`<table cellpadding="4">${rows.map(
          ([name, value]) => html`<tr><td>${name}</td><td align="right">${value}</td></tr>\n`,
        )}</table>\n`
      : ""
  }${
    address.length ? html`<p>Delivery to:<br>${address.map((line) => html`${line}<br>`)}</p>\n` : ""
  }${link ? html`<p><a href="${link.url}">${link.text}</a></p>\n` : ""}
<p><a href="${shop.url}">${shop.title}</a></p>
</body></html>
`
  return { subject, text, html: page.text }
}

/** @param {Any} order @returns {[string, string][]} */
function listOrderRows(order) {
  const currency = order.currency_code
  const money = (/** @type {any} */ amount) => formatMoney(Number(amount ?? 0), currency)
  return [
    ...(order.items ?? []).map((/** @type {Any} */ item) => [
      `${item.quantity} × ${nameItem(item)}`,
      money(Number(item.unit_price) * Number(item.quantity)),
    ]),
    [
      order.shipping_methods?.[0]?.name ?? "Delivery",
      money(order.shipping_subtotal ?? order.shipping_total),
    ],
    ...listAdjustments(order),
    ["Total", money(order.total)],
  ]
}

function nameItem(/** @type {Any} */ item) {
  const name = item.product_title ?? item.title
  const variant = item.variant_title
  return variant && variant !== "Standard" ? `${name} (${variant})` : name
}

const writeAddress = (/** @type {Any} */ address) => [
  ...formatAddress(address),
  ...(address.country_code ? [getCountryName(address.country_code)] : []),
]
