import assert from "node:assert/strict"
import { once } from "node:events"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, before, test } from "node:test"
import { EVENTS, composeMails } from "../src/mail/events.mjs"
import { MailOutbox } from "../src/programs/mail-outbox.mjs"

const STORE = { name: "acme", host: "acme.example", url: "https://acme.example/" }
const ORDER = {
  id: "order_1",
  display_id: 7,
  email: "grace@example.com",
  currency_code: "eur",
  items: [{ product_title: "Mug <b>& co", variant_title: "Pine", quantity: 2, unit_price: 18 }],
  shipping_methods: [{ name: "By bicycle" }],
  shipping_address: {
    first_name: "Grace",
    address_1: "1 Road",
    city: "Mong Kok",
    country_code: "hk",
  },
  shipping_total: 5,
  total: 41,
}
const ROWS = {
  store: [{ name: `Zoë's "<Café>" 🛍` }],
  order: [ORDER],
  user: [{ email: "owner@example.com" }],
  fulfillment: [{ labels: [{ tracking_number: "T1" }], order: { id: "order_1" } }],
  payment: [
    {
      amount: 41,
      currency_code: "eur",
      refunds: [{ amount: 20.5 }],
      payment_collection: { order: { id: "order_1" } },
    },
  ],
  invite: [{ email: "new@example.com", token: "a+b" }],
  customer: [{ email: "grace@example.com", has_account: true }],
}
const query = { graph: async ({ entity }) => ({ data: ROWS[entity] }) }
const compose = (name, data) => composeMails({ name, data }, { query, store: STORE })

test("every event gives a complete mail in both forms", async () => {
  for (const name of Object.keys(EVENTS)) {
    const data = {
      id: "x",
      entity_id: "grace@example.com",
      token: "t",
      code: "c",
      actor_type: "user",
    }
    const mails = await compose(name, data)
    assert.ok(mails.length, name)
    for (const { to, from, subject, text, html } of mails) {
      assert.match(to, /@/)
      assert.equal(from, `"Zoë's Café 🛍" <shop@acme.example>`)
      for (const part of [subject, text, html])
        assert.doesNotMatch(part, /undefined|null|NaN/, name)
      assert.match(html, /^<!doctype html>/)
    }
    assert.deepEqual(await compose(name, { ...data, no_notification: true }), [])
  }
})

test("an order's mail shows items, total and address, escaped in HTML only", async () => {
  const [customer, owner] = await compose("order.placed", { id: "order_1" })
  assert.equal(customer.to, "grace@example.com")
  assert.match(
    customer.text,
    /2 × Mug <b>& co \(Pine\): €36\.00\nBy bicycle: €5\.00\nTotal: €41\.00/,
  )
  assert.match(customer.text, /1 Road\nMong Kok\nHong Kong/)
  assert.match(customer.text, /https:\/\/acme\.example\/orders\/order_1/)
  assert.match(customer.html, /Mug &lt;b&gt;&amp; co/)
  assert.deepEqual([owner.to, owner.subject], ["owner@example.com", "New order 7: €41.00"])
})

test("links of resets and invitations carry the token", async () => {
  const data = { entity_id: "owner@example.com", token: "a+b", actor_type: "user" }
  const [reset] = await compose("auth.password_reset", data)
  assert.match(reset.text, /\/app\/reset-password\?token=a%2Bb&email=owner%40example\.com/)
  const [invite] = await compose("invite.created", { id: "x" })
  assert.match(invite.text, /\/app\/invite\?token=a%2Bb/)
  assert.match((await compose("payment.refunded", { id: "x" }))[0].text, /refunded €20\.50/)
})

const folder = mkdtempSync(join(tmpdir(), "mails-"))
const statements = []
const row = {
  id: "3",
  created_at: new Date(0),
  sender: "Zoë <shop@acme.example>",
  recipients: ["g@example.com"],
  subject: "🛍",
}
let rows = []
const pool = {
  query: async (sql, values) => {
    statements.push({ sql, values })
    return { rows }
  },
}
const outbox = new MailOutbox({ mail_key_file: join(folder, "key") }, pool)
let server
let base
before(async () => {
  server = createServer(async (request, response) => {
    if (!(await outbox.handleRequest(request, response))) response.writeHead(404).end()
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  base = `http://127.0.0.1:${server.address().port}/storefleet/mail`
})
after(() => {
  server.closeAllConnections()
  server.close()
  rmSync(folder, { recursive: true })
})
const read = (path = "", key = "secret", method = "GET") =>
  fetch(base + path, { method, headers: { authorization: `Bearer ${key}` } })

test("the outbox answers only to the key, and to nobody without one", async () => {
  assert.equal((await read()).status, 404)
  writeFileSync(join(folder, "key"), "secret\n")
  assert.equal((await read()).status, 200)
  for (const key of ["", "Secret", "secret2", "secre"]) {
    assert.equal((await read("", key)).status, 404)
  }
  assert.equal((await fetch(base)).status, 404)
  assert.equal((await read("", "secret", "POST")).status, 404)
  for (const path of ["/", "/0", "/x", "/1/2"]) assert.equal((await read(path)).status, 404, path)
})

test("a list has at most 100 mails and tells whether there are more", async () => {
  rows = [row, { ...row, id: "2" }]
  const answer = await read("?limit=1&before=4")
  assert.equal(answer.headers.get("cache-control"), "no-store")
  const text = await answer.text()
  assert.ok(text.includes("Zoë") && text.includes("🛍"), "characters are not escaped")
  assert.deepEqual(JSON.parse(text), {
    data: [
      {
        id: "3",
        created_at: "1970-01-01T00:00:00.000Z",
        from: "Zoë <shop@acme.example>",
        to: ["g@example.com"],
        subject: "🛍",
      },
    ],
    has_more: true,
  })
  assert.deepEqual(statements.at(-1).values, [2, "4"])
  await read("?limit=5000&before='")
  assert.deepEqual(statements.at(-1).values, [101])
})

test("bodies are cut at 256 KiB at a whole character", async () => {
  rows = [{ ...row, text_body: "é".repeat(200_000), html_body: null }]
  const mail = await (await read("/3")).json()
  assert.equal(mail.truncated, true)
  assert.equal(mail.html, null)
  assert.match(mail.text, /^é+$/)
  assert.ok(Buffer.byteLength(mail.text) <= 256 << 10)
  rows = []
  assert.equal((await read("/9999999999999999999")).status, 404)
})

test("headers of a mail are one line", async () => {
  const mail = { from: "a\r\nBcc: x", to: ["b\n@c"], subject: "x\0\ny", text: "a\0b", html: null }
  await outbox.keepMail(mail)
  const { values } = statements.find(({ sql }) => sql.startsWith("INSERT"))
  assert.deepEqual(values, ["a Bcc: x", ["b @c"], "x y", "ab", null])
})

test("a restored database without the table of mails gets it", async () => {
  let isMissing = true
  const calls = []
  const restored = {
    query: async (sql) => {
      calls.push(sql.trim().slice(0, 12))
      if (sql.includes("CREATE TABLE")) isMissing = false
      if (isMissing) throw Object.assign(new Error("no table"), { code: "42P01" })
      return { rows: [] }
    },
  }
  const mail = { from: "a", to: ["b"], subject: "c", text: null, html: null }
  await new MailOutbox({}, restored).keepMail(mail)
  assert.deepEqual(calls, ["INSERT INTO ", "CREATE TABLE", "INSERT INTO ", "DELETE FROM "])
})
