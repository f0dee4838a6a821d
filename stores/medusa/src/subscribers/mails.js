/**
 * Turn Medusa's events into mails. Events arrive after the change is committed, and a failure here
 * is logged only: it cannot undo or delay an order.
 */

const { Modules } = require("@medusajs/framework/utils")
const { readConfiguration } = require("../programs/configuration.mjs")
const { writeLog } = require("../programs/logs.mjs")
const { EVENTS, composeMails } = require("../mail/events.mjs")

const RECIPIENTS_MAX = 20

exports.default = async function keepMails({ event, container }) {
  try {
    const query = container.resolve("query")
    const mails = await composeMails(event, { query, store: readConfiguration() })
    const notifications = mails.slice(0, RECIPIENTS_MAX).map(({ to, from, ...content }) => ({
      to,
      from,
      channel: "email",
      template: event.name,
      trigger_type: event.name,
      content,
    }))
    if (!notifications.length) return
    await container.resolve(Modules.NOTIFICATION).createNotifications(notifications)
  } catch (error) {
    writeLog("error", `A mail for the event ${event.name} was not kept (${error.message}).`)
  }
}

exports.config = { event: Object.keys(EVENTS), context: { subscriberId: "storefleet-mails" } }
