/**
 * Medusa's configuration for one store: one process, no Redis, plain HTTP behind a proxy that may
 * terminate TLS, secrets from files.
 */

const { join } = require("node:path")
const { defineConfig } = require("@medusajs/framework/utils")
const {
  buildDatabaseUrl,
  readConfiguration,
  readSecret,
} = require("./src/programs/configuration.mjs")
const { medusaLogger } = require("./src/programs/logs.mjs")

const store = readConfiguration()
const origin = store.url.replace(/\/$/, "")

module.exports = defineConfig({
  logger: medusaLogger,
  projectConfig: {
    databaseUrl: buildDatabaseUrl(store.database),
    databaseLogging: false,
    databaseDriverOptions: { connection: { ssl: false }, pool: { min: 1, max: 8 } },
    // The session cookie must also work over plain HTTP: not every store is behind TLS.
    cookieOptions: { secure: "auto", sameSite: "lax", httpOnly: true },
    sessionOptions: { name: "medusa", resave: false, saveUninitialized: false },
    http: {
      // Storefront, Store API and admin share one origin; CORS rejects all others.
      storeCors: origin,
      adminCors: origin,
      authCors: origin,
      jwtSecret: readSecret(store.jwt_secret_file, "the key of the sign-in tokens"),
      cookieSecret: readSecret(store.cookie_secret_file, "the key of the cookies"),
      jwtExpiresIn: "1d",
    },
    workerMode: "shared",
  },
  // `src/programs/router.mjs` serves the admin's files.
  admin: { disable: true, path: "/app" },
  modules: [
    {
      resolve: "@medusajs/medusa/file",
      options: {
        providers: [
          {
            resolve: "@medusajs/medusa/file-local",
            id: "local",
            options: {
              upload_dir: join(store.data_dir, "static"),
              private_upload_dir: join(store.data_dir, "private"),
              backend_url: `${origin}/static`,
            },
          },
        ],
      },
    },
    {
      resolve: "@medusajs/medusa/notification",
      options: {
        providers: [
          { resolve: join(__dirname, "src/mail"), id: "outbox", options: { channels: ["email"] } },
          {
            resolve: "@medusajs/medusa/notification-local",
            id: "local",
            options: { name: "Local Notification Provider", channels: ["feed"] },
          },
        ],
      },
    },
  ],
})
// The default plugin only extends the admin, whose files already contain it.
module.exports.plugins = []
