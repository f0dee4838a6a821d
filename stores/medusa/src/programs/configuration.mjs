/** The store's configuration: the file that STORE_CONFIG names, and the secrets it refers to. */

import { readFileSync } from "node:fs"

/** The configuration or an argument is missing or invalid; a retry fails in the same way. */
export class ConfigurationError extends Error {}

const SECRET_LENGTH_MAX = 4096

/**
 * Read and check the configuration. Secrets stay in their files until they are used.
 *
 * @returns {Readonly<Record<string, any>>}
 */
export function readConfiguration() {
  const path = process.env.STORE_CONFIG
  if (!path) {
    throw new ConfigurationError(
      "STORE_CONFIG is not set. Set it to the path of the store's configuration.",
    )
  }
  let content
  try {
    content = JSON.parse(readFileSync(path, "utf8"))
  } catch (error) {
    throw new ConfigurationError(
      `The store's configuration ${path} cannot be read (${error.message}). Correct it.`,
    )
  }
  for (const name of ["store_id", "name", "host", "url", "database", "parameters", "data_dir"]) {
    if (!content[name]) {
      throw new ConfigurationError(`The store's configuration ${path} has no ${name}. Add it.`)
    }
  }
  return Object.freeze(content)
}

/**
 * Read a secret from a file with one line of text.
 *
 * @param {string} path
 * @param {string} what what the secret is, for the error text
 */
export function readSecret(path, what) {
  let text
  try {
    text = readFileSync(path, "utf8").replace(/\r?\n$/, "")
  } catch (error) {
    throw new ConfigurationError(
      `The file ${path} with ${what} cannot be read (${error.code}). Check that it exists.`,
    )
  }
  if (!text || text.length > SECRET_LENGTH_MAX || text.includes("\0")) {
    throw new ConfigurationError(
      `The file ${path} with ${what} is empty, too long or binary. Write it again.`,
    )
  }
  return text
}

/** Build the options with which the PostgreSQL client library connects. */
export function buildConnectionOptions(/** @type {Record<string, any>} */ database) {
  const { host, port, name, user } = database
  const password = database.password_file
    ? readSecret(database.password_file, "the database's password")
    : ""
  return { host, port, user, database: name, password, connectionTimeoutMillis: 5000 }
}

/** Build the same connection as a URL, which is the form that Medusa takes. */
export function buildDatabaseUrl(/** @type {Record<string, any>} */ database) {
  const options = buildConnectionOptions(database)
  // The host may be the folder of a Unix socket, so it is encoded, too.
  const [user, password, host, name] = [
    options.user,
    options.password,
    options.host,
    database.name,
  ].map(encodeURIComponent)
  return `postgres://${user}:${password}@${host}:${options.port}/${name}`
}
