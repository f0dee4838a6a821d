/** What a store is told: the file that STORE_CONFIG names, and the secrets that it names. */

import { readFileSync } from "node:fs"

/** Something that is given is missing or wrong: another try ends the same. */
export class ConfigurationError extends Error {}

const SECRET_LIMIT = 4096

/**
 * @returns {Readonly<Record<string, any>>} the configuration; secrets stay in their files until they are asked for
 */
export function configuration() {
  const path = process.env.STORE_CONFIG
  if (!path) throw new ConfigurationError("STORE_CONFIG names no file: say where the store's configuration is.")
  let content
  try {
    content = JSON.parse(readFileSync(path, "utf8"))
  } catch (error) {
    throw new ConfigurationError(`The store's configuration ${path} cannot be read (${error.message}): correct it.`)
  }
  for (const name of ["store_id", "name", "host", "url", "database", "parameters", "data_dir"]) {
    if (!content[name]) throw new ConfigurationError(`The store's configuration ${path} has no ${name}: add it.`)
  }
  return Object.freeze(content)
}

/**
 * @param {string} path
 * @param {string} what what it is, for the one who reads the error
 */
export function secret(path, what) {
  let text
  try {
    text = readFileSync(path, "utf8").replace(/\r?\n$/, "")
  } catch (error) {
    throw new ConfigurationError(`The file ${path} with ${what} cannot be read (${error.code}): see that it is there.`)
  }
  if (!text || text.length > SECRET_LIMIT || text.includes("\0")) {
    throw new ConfigurationError(`The file ${path} with ${what} is empty, too long or binary: write it again.`)
  }
  return text
}

/** How PostgreSQL is reached, for its client library. */
export function connection(/** @type {Record<string, any>} */ database) {
  const { host, port, name, user } = database
  const password = database.password_file ? secret(database.password_file, "the database's password") : ""
  return { host, port, user, database: name, password, connectionTimeoutMillis: 5000 }
}

/** The same as an address, which is what Medusa takes. */
export function address(/** @type {Record<string, any>} */ database) {
  const { host, port, user, password } = connection(database)
  // A folder with a socket is written as a host, too.
  const [owner, word, place, name] = [user, password, host, database.name].map(encodeURIComponent)
  return `postgres://${owner}:${word}@${place}:${port}/${name}`
}
