/**
 * The mail outbox: the mails that this store would have sent, in its own database, and their
 * answers to the platform, which shows them to the store's owner. No mail leaves the store.
 */

import { createHash, timingSafeEqual } from "node:crypto"
import { readSecret } from "./configuration.mjs"
import { MAIL_TABLE } from "./marks.mjs"

const KEPT_MAILS = 200
const LIST_LENGTH_MAX = 100
const BODY_SIZE_MAX_BYTES = 256 << 10
const SUBJECT_LENGTH_MAX = 998
const PATH = /^\/storefleet\/mail(?:\/([1-9][0-9]{0,18}))?$/
/** PostgreSQL's error code. */
const UNDEFINED_TABLE = "42P01"
const COLUMNS = "id, created_at, sender, recipients, subject"

/** @typedef {{ from: string, to: string[], subject: string, text: string | null,
 *   html: string | null }} Mail */

export class MailOutbox {
  /** @param {Readonly<Record<string, any>>} store @param {Pick<import("pg").Pool, "query">} pool */
  constructor(store, pool) {
    this.store = store
    this.pool = pool
  }

  /** Keep a mail, and delete the oldest ones. @param {Mail} mail */
  async keepMail({ from, to, subject, text, html }) {
    await this.#query(
      `INSERT INTO storefleet_mails (sender, recipients, subject, text_body, html_body)
       VALUES ($1, $2, $3, $4, $5)`,
      [
        tidyLine(from),
        to.map(tidyLine),
        tidyLine(subject).slice(0, SUBJECT_LENGTH_MAX),
        cutBody(text)[0],
        cutBody(html)[0],
      ],
    )
    await this.#query(
      `DELETE FROM storefleet_mails WHERE id <=
         (SELECT id FROM storefleet_mails ORDER BY id DESC OFFSET ${KEPT_MAILS} LIMIT 1)`,
    )
  }

  /**
   * Answer a request of the platform.
   *
   * @param {import("node:http").IncomingMessage} request
   * @param {import("node:http").ServerResponse} response
   * @returns {Promise<boolean>} whether it was answered; without the right key it is not
   */
  async handleRequest(request, response) {
    const url = new URL(request.url ?? "/", "http://store")
    const found = PATH.exec(url.pathname)
    if (!found || request.method !== "GET" || !this.#hasKey(request)) return false
    const answer = found[1] ? await this.#readMail(found[1]) : await this.#listMails(url)
    if (!answer) return false
    const content = Buffer.from(JSON.stringify(answer))
    response.writeHead(200, {
      "content-type": "application/json; charset=utf-8",
      "content-length": content.length,
      "cache-control": "no-store",
    })
    response.end(content)
    return true
  }

  /** Compare hashes, so that the time tells nothing about the key. */
  #hasKey(/** @type {import("node:http").IncomingMessage} */ { headers }) {
    let key
    try {
      key = readSecret(this.store.mail_key_file ?? "", "the key of the mail outbox")
    } catch {
      return false // a store of an earlier version has no key until its next change
    }
    const hash = (/** @type {string} */ text) => createHash("sha256").update(text).digest()
    return timingSafeEqual(hash(headers.authorization ?? ""), hash(`Bearer ${key}`))
  }

  /** A restored dump of an earlier version has no table of mails; create it then. */
  async #query(/** @type {string} */ sql, /** @type {unknown[]} */ values = []) {
    try {
      return await this.pool.query(sql, values)
    } catch (error) {
      if (error.code !== UNDEFINED_TABLE) throw error
      await this.pool.query(MAIL_TABLE)
      return this.pool.query(sql, values)
    }
  }

  async #listMails(/** @type {URL} */ { searchParams }) {
    const limit = clamp(Number.parseInt(searchParams.get("limit") ?? "", 10) || 20, LIST_LENGTH_MAX)
    const before = searchParams.get("before") ?? ""
    const isFollowing = /^[0-9]{1,18}$/.test(before)
    const { rows } = await this.#query(
      `SELECT ${COLUMNS} FROM storefleet_mails ${isFollowing ? "WHERE id < $2" : ""}
        ORDER BY id DESC LIMIT $1`,
      isFollowing ? [limit + 1, before] : [limit + 1],
    )
    return { data: rows.slice(0, limit).map(describeMail), has_more: rows.length > limit }
  }

  async #readMail(/** @type {string} */ id) {
    const { rows } = await this.#query(
      `SELECT ${COLUMNS}, text_body, html_body FROM storefleet_mails
        WHERE id::numeric = $1::numeric`,
      [id],
    )
    if (!rows[0]) return null
    const [text, isTextCut] = cutBody(rows[0].text_body)
    const [html, isHtmlCut] = cutBody(rows[0].html_body)
    return { ...describeMail(rows[0]), text, html, truncated: isTextCut || isHtmlCut }
  }
}

const clamp = (/** @type {number} */ value, /** @type {number} */ most) =>
  Math.min(Math.max(value, 1), most)

/** A header is one line without control characters. */
const tidyLine = (/** @type {string} */ text) => text.replace(/\p{Cc}+/gu, " ").trim()

const describeMail = (/** @type {Record<string, any>} */ row) => ({
  id: String(row.id),
  created_at: row.created_at.toISOString(),
  from: row.sender,
  to: row.recipients,
  subject: row.subject,
})

/**
 * Cut a body at a whole character.
 *
 * @param {string | null} text @returns {[string | null, boolean]} the body, and whether it was cut
 */
function cutBody(text) {
  if (text === null) return [null, false]
  const clean = text.replaceAll("\0", "")
  const content = Buffer.from(clean)
  if (content.length < BODY_SIZE_MAX_BYTES) return [clean, false]
  let end = BODY_SIZE_MAX_BYTES - 1
  while ((content[end] & 0xc0) === 0x80) end -= 1
  return [content.subarray(0, end).toString(), true]
}
