import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { buildDatabaseUrl, readSecret } from "../src/programs/configuration.mjs"

const MAIN = join(import.meta.dirname, "../src/programs/main.mjs")
const folder = mkdtempSync(join(tmpdir(), "programs-"))
after(() => rmSync(folder, { recursive: true }))

const runProgram = (name, env = {}) =>
  spawnSync(process.execPath, [MAIN, name], {
    encoding: "utf8",
    env: { PATH: process.env.PATH, STORE_ID: "sto_1", ...env },
  })

test("a permanent error exits with 2 and logs a line of JSON", () => {
  const done = runProgram("cook")
  assert.equal(done.status, 2)
  const line = JSON.parse(done.stdout)
  assert.equal(line.level, "error")
  assert.equal(line.store_id, "sto_1")
  assert.match(line.event, /The program “cook” does not exist/)
})

test("secrets are read from files and errors name the file only", () => {
  const path = join(folder, "password")
  writeFileSync(path, "p@ss:w/rd\n")
  assert.equal(readSecret(path, "it"), "p@ss:w/rd")
  writeFileSync(join(folder, "empty"), "")
  assert.throws(
    () => readSecret(join(folder, "empty"), "the password"),
    /empty with the password is empty/,
  )
  assert.throws(() => readSecret(join(folder, "none"), "the password"), /ENOENT/)
  const place = { host: "database", port: 5432, name: "store", user: "store", password_file: path }
  assert.equal(buildDatabaseUrl(place), "postgres://store:p%40ss%3Aw%2Frd@database:5432/store")
})
