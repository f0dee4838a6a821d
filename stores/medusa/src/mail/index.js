/**
 * Medusa's provider of the notification channel "email": it keeps each mail in the store's own
 * database, so that nothing waits for a mail server.
 */

const {
  AbstractNotificationProviderService,
  ModuleProvider,
  Modules,
} = require("@medusajs/framework/utils")
const { readConfiguration } = require("../programs/configuration.mjs")
const { MailOutbox } = require("../programs/mail-outbox.mjs")
const { openPool } = require("../programs/postgres.mjs")

const QUERY_TIMEOUT_MS = 5000

class OutboxService extends AbstractNotificationProviderService {
  static identifier = "outbox"
  #outbox = null

  async send({ to, from, content, template, data }) {
    this.#outbox ??= openOutbox()
    await this.#outbox.keepMail({
      from: from || "",
      to: [to],
      subject: content?.subject || template || "Notification",
      text: content ? (content.text ?? null) : JSON.stringify(data ?? {}, null, 2),
      html: content?.html ?? null,
    })
    return {}
  }
}

function openOutbox() {
  const store = readConfiguration()
  return new MailOutbox(store, openPool(store.database, { max: 1, timeoutMs: QUERY_TIMEOUT_MS }))
}

exports.default = ModuleProvider(Modules.NOTIFICATION, { services: [OutboxService] })
