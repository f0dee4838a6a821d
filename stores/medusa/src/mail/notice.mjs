/** Tell the users of the admin once, in its list of notifications, that the store sends no e-mail. */

import { writeLog } from "../programs/logs.mjs"

const NOTICE = {
  to: "admin",
  channel: "feed",
  template: "admin-ui",
  idempotency_key: "storefleet-mail-outbox",
  data: {
    title: "This shop does not send e-mail yet",
    description:
      "The mails that it would send are kept in its outbox. Read them on the page of this shop in " +
      "the dashboard of your platform, and contact your customers yourself.",
  },
}

/** @param {{ resolve: (name: string) => any }} container of Medusa */
export async function announceOutbox(container) {
  try {
    await container.resolve("notification").createNotifications(NOTICE)
  } catch (error) {
    writeLog("warning", `The notice about e-mail was not written (${error.message}).`)
  }
}
