/** Sample products, categories and delivery methods of a new store; its owner replaces them. */

/** Every sample has a price in each of them, so that a store's currency is a single setting. */
export const CURRENCIES = ["usd", "eur", "gbp"]
export const STOCK = 1000

export const CATEGORIES = [
  { name: "Kitchen", handle: "kitchen", description: "Tableware and tools for every day." },
  { name: "Living", handle: "living", description: "Candles and textiles for the living room." },
  { name: "Desk", handle: "desk", description: "Light and paper for the desk." },
]

/**
 * Describe a product with a single variant.
 *
 * @param {string} handle @param {string} title @param {string} category @param {number} price
 * @param {string} description
 */
const singleVariant = (handle, title, category, price, description) => ({
  handle,
  title,
  category,
  description,
  option: {
    title: "Variant",
    values: [{ value: "Standard", sku: `SF-${handle}`.toUpperCase(), price }],
  },
})

export const PRODUCTS = [
  {
    handle: "stoneware-mug",
    title: "Stoneware Mug",
    category: "Kitchen",
    description: "A stoneware mug with a hand-made glaze. Holds 350 ml, dishwasher safe.",
    option: {
      title: "Glaze",
      values: [
        { value: "Pine", sku: "SF-MUG-PINE", price: 18 },
        { value: "Oat", sku: "SF-MUG-OAT", price: 18 },
        { value: "Brick", sku: "SF-MUG-BRICK", price: 20 },
      ],
    },
  },
  singleVariant(
    "serving-board",
    "Walnut Serving Board",
    "Kitchen",
    42.5,
    "A board of oiled walnut, cut with the grain, with rounded edges. 40 by 18 cm.",
  ),
  {
    handle: "soy-candle",
    title: "Soy Wax Candle",
    category: "Living",
    description: "Soy wax in a reusable glass. Cotton wick, 220 g, burns for about 45 hours.",
    option: {
      title: "Scent",
      values: [
        { value: "Fig", sku: "SF-CANDLE-FIG", price: 24 },
        { value: "Cedar", sku: "SF-CANDLE-CEDAR", price: 24 },
      ],
    },
  },
  singleVariant(
    "linen-cushion",
    "Linen Cushion",
    "Living",
    36,
    "Washed linen with a feather filling and a removable cover. 45 by 45 cm.",
  ),
  singleVariant(
    "desk-lamp",
    "Enamel Desk Lamp",
    "Desk",
    79,
    "Enamelled steel with an adjustable head. Takes any E27 bulb.",
  ),
  {
    handle: "notebook",
    title: "Thread-bound Notebook",
    category: "Desk",
    description: "160 pages of 90 g paper, A5, in a cloth cover. Lies flat on every page.",
    option: {
      title: "Ruling",
      values: [
        { value: "Plain", sku: "SF-NOTEBOOK-PLAIN", price: 14 },
        { value: "Dotted", sku: "SF-NOTEBOOK-DOTTED", price: 14 },
      ],
    },
  },
]

export const DELIVERY_METHODS = [
  {
    name: "Standard delivery",
    code: "standard",
    description: "Arrives in three to five days.",
    amount: 5,
  },
  {
    name: "Express delivery",
    code: "express",
    description: "Arrives on the next working day.",
    amount: 12,
  },
]
