/** How Medusa runs here: one process, no Redis, plain HTTP behind whoever ends TLS, secrets from files. */

const { join } = require("node:path")
const { defineConfig } = require("@medusajs/framework/utils")
const { address, configuration, secret } = require("./src/programs/configuration.mjs")
const { medusaLogger } = require("./src/programs/lines.mjs")

const store = configuration()
const origin = store.url.replace(/\/$/, "")

module.exports = defineConfig({
  logger: medusaLogger,
  projectConfig: {
    databaseUrl: address(store.database),
    databaseLogging: false,
    databaseDriverOptions: { connection: { ssl: false }, pool: { min: 1, max: 8 } },
    // A session's cookie has to go over plain HTTP, too: there is not always TLS before a store.
    cookieOptions: { secure: "auto", sameSite: "lax", httpOnly: true },
    sessionOptions: { name: "medusa", resave: false, saveUninitialized: false },
    http: {
      // Storefront, Store API and admin have one origin; browsers of others are kept out.
      storeCors: origin,
      adminCors: origin,
      authCors: origin,
      jwtSecret: secret(store.jwt_secret_file, "the key of the sign-in tokens"),
      cookieSecret: secret(store.cookie_secret_file, "the key of the cookies"),
      jwtExpiresIn: "1d",
    },
    workerMode: "shared",
  },
  // Its files are served by the program that starts all this.
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
  ],
})
// What it adds to the admin's pages is in them already.
module.exports.plugins = []
