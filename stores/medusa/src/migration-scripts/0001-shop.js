/**
 * Fill an empty database: sales channel, key, region, delivery methods, products. Medusa runs it
 * once, during the image build; stores copy the result. Every step first looks for existing rows,
 * because an earlier run may have been killed. Medusa records the file's name, so do not rename it.
 */

const {
  ContainerRegistrationKeys,
  Modules,
  ProductStatus,
  defaultCountries,
} = require("@medusajs/framework/utils")
const flows = require("@medusajs/medusa/core-flows")
const {
  CATEGORIES,
  CURRENCIES,
  DELIVERY_METHODS,
  PRODUCTS,
  STOCK,
} = require("../sample-products.mjs")

/** Name of every row that exists once; the set-up of a store replaces it where customers see it. */
const NAME = "Shop"

exports.default = async function fillDatabase({ container }) {
  const run = async (flow, input) => (await flow(container).run({ input })).result
  const query = container.resolve(ContainerRegistrationKeys.QUERY)
  const findFirst = async (entity, filters, fields = ["id"]) =>
    (await query.graph({ entity, fields, filters })).data[0]
  const link = container.resolve(ContainerRegistrationKeys.LINK)
  const context = { container, run, findFirst, link }
  const channel = await ensureChannel(context)
  await ensureRegion(context)
  const location = await ensureLocation(context, channel)
  await ensureDeliveryMethods(context, location)
  await ensureProducts(context, channel)
  await fillStock(context, location)
}

async function ensureChannel({ run, findFirst }) {
  const channel =
    (await findFirst("sales_channel", { name: NAME })) ??
    (
      await run(flows.createSalesChannelsWorkflow, {
        salesChannelsData: [{ name: NAME, description: "Storefront and Store API" }],
      })
    )[0]
  let key = await findFirst("api_key", { title: NAME })
  key ??= (
    await run(flows.createApiKeysWorkflow, {
      api_keys: [{ title: NAME, type: "publishable", created_by: "" }],
    })
  )[0]
  await run(flows.linkSalesChannelsToApiKeyWorkflow, { id: key.id, add: [channel.id] })
  const settings = {
    name: NAME,
    default_sales_channel_id: channel.id,
    supported_currencies: CURRENCIES.map((currency_code, index) => ({
      currency_code,
      is_default: index === 0,
    })),
  }
  const store = await findFirst("store", {})
  if (store) {
    await run(flows.updateStoresWorkflow, { selector: { id: store.id }, update: settings })
  } else await run(flows.createStoresWorkflow, { stores: [settings] })
  return channel
}

async function ensureRegion({ run, findFirst }) {
  if (await findFirst("region", { name: NAME })) return
  const countries = defaultCountries.map((country) => country.alpha2.toLowerCase())
  await run(flows.createRegionsWorkflow, {
    regions: [
      {
        name: NAME,
        currency_code: CURRENCIES[0],
        countries,
        payment_providers: ["pp_system_default"],
      },
    ],
  })
}

async function ensureLocation({ run, findFirst, link }, channel) {
  let location = await findFirst("stock_location", { name: NAME })
  location ??= (
    await run(flows.createStockLocationsWorkflow, {
      locations: [{ name: NAME, address: { address_1: "", country_code: "us" } }],
    })
  )[0]
  await link.create({
    [Modules.STOCK_LOCATION]: { stock_location_id: location.id },
    [Modules.FULFILLMENT]: { fulfillment_provider_id: "manual_manual" },
  })
  await run(flows.linkSalesChannelsToStockLocationWorkflow, { id: location.id, add: [channel.id] })
  return location
}

async function ensureDeliveryMethods({ container, run, findFirst, link }, location) {
  const profile = await ensureShippingProfile({ run, findFirst })
  const set =
    (await findFirst("fulfillment_set", { name: NAME }, ["id", "service_zones.id"])) ??
    (await createDeliveryZone(container))
  await link.create({
    [Modules.STOCK_LOCATION]: { stock_location_id: location.id },
    [Modules.FULFILLMENT]: { fulfillment_set_id: set.id },
  })
  for (const delivery of DELIVERY_METHODS) {
    if (await findFirst("shipping_option", { name: delivery.name })) continue
    const option = buildShippingOption(delivery, set.service_zones[0].id, profile.id)
    await run(flows.createShippingOptionsWorkflow, [option])
  }
}

async function ensureShippingProfile({ run, findFirst }) {
  const data = [{ name: "Default", type: "default" }]
  return (
    (await findFirst("shipping_profile", {})) ??
    (await run(flows.createShippingProfilesWorkflow, { data }))[0]
  )
}

function createDeliveryZone(container) {
  const geo_zones = defaultCountries.map((country) => ({
    type: "country",
    country_code: country.alpha2.toLowerCase(),
  }))
  return container.resolve(Modules.FULFILLMENT).createFulfillmentSets({
    name: NAME,
    type: "shipping",
    service_zones: [{ name: "Everywhere", geo_zones }],
  })
}

function buildShippingOption(
  { name, code, description, amount },
  service_zone_id,
  shipping_profile_id,
) {
  return {
    name,
    price_type: "flat",
    provider_id: "manual_manual",
    service_zone_id,
    shipping_profile_id,
    type: { label: name, description, code },
    prices: CURRENCIES.map((currency_code) => ({ currency_code, amount })),
    rules: [
      { attribute: "enabled_in_store", operator: "eq", value: "true" },
      { attribute: "is_return", operator: "eq", value: "false" },
    ],
  }
}

async function ensureProducts({ run, findFirst }, channel) {
  const profile = await findFirst("shipping_profile", {})
  const categories = {}
  for (const { name, handle, description } of CATEGORIES) {
    const product_categories = [{ name, handle, description, is_active: true }]
    categories[name] =
      (await findFirst("product_category", { handle })) ??
      (await run(flows.createProductCategoriesWorkflow, { product_categories }))[0]
  }
  for (const sample of PRODUCTS) {
    if (await findFirst("product", { handle: sample.handle })) continue
    const product = {
      ...buildProduct(sample, channel, profile),
      category_ids: [categories[sample.category].id],
    }
    await run(flows.createProductsWorkflow, { products: [product] })
  }
}

function buildProduct({ handle, title, description, option }, channel, profile) {
  const picture = `/assets/goods/${handle}.svg`
  return {
    handle,
    title,
    description,
    status: ProductStatus.PUBLISHED,
    thumbnail: picture,
    images: [{ url: picture }],
    shipping_profile_id: profile.id,
    sales_channels: [{ id: channel.id }],
    options: [{ title: option.title, values: option.values.map(({ value }) => value) }],
    variants: option.values.map(({ value, sku, price }) => ({
      title: value,
      sku,
      manage_inventory: true,
      options: { [option.title]: value },
      prices: CURRENCIES.map((currency_code) => ({ currency_code, amount: price })),
    })),
  }
}

async function fillStock({ container, run }, location) {
  const query = container.resolve(ContainerRegistrationKeys.QUERY)
  const { data: items } = await query.graph({
    entity: "inventory_item",
    fields: ["id", "location_levels.id"],
  })
  const inventory_levels = items
    .filter((item) => !item.location_levels?.length)
    .map((item) => ({
      inventory_item_id: item.id,
      location_id: location.id,
      stocked_quantity: STOCK,
    }))
  if (inventory_levels.length) {
    await run(flows.createInventoryLevelsWorkflow, { inventory_levels })
  }
}
