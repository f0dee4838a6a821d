/**
 * Fills an empty database: channel, key, region, delivery, goods. Medusa runs it once, at image build; a store gets the
 * outcome. It runs in a database that may hold a part of it already, since it may have been ended anywhere.
 */

const { ContainerRegistrationKeys, Modules, ProductStatus, defaultCountries } = require("@medusajs/framework/utils")
const flows = require("@medusajs/medusa/core-flows")
const { CATEGORIES, CURRENCIES, DELIVERIES, GOODS, STOCK } = require("../goods.mjs")

const NAME = "Shop"

exports.default = async function fill({ container }) {
  const run = async (flow, input) => (await flow(container).run({ input })).result
  const query = container.resolve(ContainerRegistrationKeys.QUERY)
  const first = async (entity, filters, fields = ["id"]) => (await query.graph({ entity, fields, filters })).data[0]
  const shop = { container, run, first, link: container.resolve(ContainerRegistrationKeys.LINK) }
  const channel = await makeChannel(shop)
  await makeRegion(shop)
  const location = await makeLocation(shop, channel)
  await makeDelivery(shop, location)
  await makeGoods(shop, channel)
  await fillStock(shop, location)
}

async function makeChannel({ run, first }) {
  const channel =
    (await first("sales_channel", { name: NAME })) ??
    (await run(flows.createSalesChannelsWorkflow, {
      salesChannelsData: [{ name: NAME, description: "Storefront and Store API" }],
    }))[0]
  let key = await first("api_key", { title: NAME })
  key ??= (await run(flows.createApiKeysWorkflow, {
    api_keys: [{ title: NAME, type: "publishable", created_by: "" }],
  }))[0]
  await run(flows.linkSalesChannelsToApiKeyWorkflow, { id: key.id, add: [channel.id] })
  const settings = {
    name: NAME,
    default_sales_channel_id: channel.id,
    supported_currencies: CURRENCIES.map((currency_code, index) => ({ currency_code, is_default: index === 0 })),
  }
  const store = await first("store", {})
  if (store) await run(flows.updateStoresWorkflow, { selector: { id: store.id }, update: settings })
  else await run(flows.createStoresWorkflow, { stores: [settings] })
  return channel
}

async function makeRegion({ run, first }) {
  if (await first("region", { name: NAME })) return
  const countries = defaultCountries.map((country) => country.alpha2.toLowerCase())
  await run(flows.createRegionsWorkflow, {
    regions: [{ name: NAME, currency_code: CURRENCIES[0], countries, payment_providers: ["pp_system_default"] }],
  })
}

async function makeLocation({ run, first, link }, channel) {
  let location = await first("stock_location", { name: NAME })
  location ??= (await run(flows.createStockLocationsWorkflow, {
    locations: [{ name: NAME, address: { address_1: "", country_code: "us" } }],
  }))[0]
  await link.create({
    [Modules.STOCK_LOCATION]: { stock_location_id: location.id },
    [Modules.FULFILLMENT]: { fulfillment_provider_id: "manual_manual" },
  })
  await run(flows.linkSalesChannelsToStockLocationWorkflow, { id: location.id, add: [channel.id] })
  return location
}

async function makeDelivery({ container, run, first, link }, location) {
  const profile = await makeProfile({ run, first })
  const set = (await first("fulfillment_set", { name: NAME }, ["id", "service_zones.id"])) ?? (await makeZone(container))
  await link.create({
    [Modules.STOCK_LOCATION]: { stock_location_id: location.id },
    [Modules.FULFILLMENT]: { fulfillment_set_id: set.id },
  })
  for (const delivery of DELIVERIES) {
    if (await first("shipping_option", { name: delivery.name })) continue
    await run(flows.createShippingOptionsWorkflow, [option(delivery, set.service_zones[0].id, profile.id)])
  }
}

async function makeProfile({ run, first }) {
  const data = [{ name: "Default", type: "default" }]
  return (await first("shipping_profile", {})) ?? (await run(flows.createShippingProfilesWorkflow, { data }))[0]
}

function makeZone(container) {
  const geo_zones = defaultCountries.map((country) => ({ type: "country", country_code: country.alpha2.toLowerCase() }))
  return container
    .resolve(Modules.FULFILLMENT)
    .createFulfillmentSets({ name: NAME, type: "shipping", service_zones: [{ name: "Everywhere", geo_zones }] })
}

function option({ name, code, description, amount }, service_zone_id, shipping_profile_id) {
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

async function makeGoods({ run, first }, channel) {
  const profile = await first("shipping_profile", {})
  const categories = {}
  for (const { name, handle, description } of CATEGORIES) {
    const product_categories = [{ name, handle, description, is_active: true }]
    categories[name] =
      (await first("product_category", { handle })) ??
      (await run(flows.createProductCategoriesWorkflow, { product_categories }))[0]
  }
  for (const good of GOODS) {
    if (await first("product", { handle: good.handle })) continue
    const product = { ...goods(good, channel, profile), category_ids: [categories[good.category].id] }
    await run(flows.createProductsWorkflow, { products: [product] })
  }
}

function goods({ handle, title, description, option }, channel, profile) {
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
  const { data: items } = await query.graph({ entity: "inventory_item", fields: ["id", "location_levels.id"] })
  const inventory_levels = items
    .filter((item) => !item.location_levels?.length)
    .map((item) => ({ inventory_item_id: item.id, location_id: location.id, stocked_quantity: STOCK }))
  if (inventory_levels.length) await run(flows.createInventoryLevelsWorkflow, { inventory_levels })
}
