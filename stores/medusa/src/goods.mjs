/** The goods that a new shop begins with, and where it delivers: real enough to buy from, easy to replace. */

/** Every sample is priced in each of them, so that a store's currency is one setting. */
export const CURRENCIES = ["usd", "eur", "gbp"]
export const STOCK = 1000

export const CATEGORIES = [
  { name: "Kitchen", handle: "kitchen", description: "Used every day, washed up every evening." },
  { name: "Living", handle: "living", description: "Light, warmth and something soft to lean on." },
  { name: "Desk", handle: "desk", description: "For a table that invites to begin." },
]

/** @param {string} handle @param {string} title @param {string} category @param {number} price */
const one = (handle, title, category, price, /** @type {string} */ description) => ({
  handle,
  title,
  category,
  description,
  option: { title: "Kind", values: [{ value: "Standard", sku: `SF-${handle}`.toUpperCase(), price }] },
})

export const GOODS = [
  {
    handle: "stoneware-mug",
    title: "Stoneware Mug",
    category: "Kitchen",
    description:
      "Thrown in one piece and glazed by hand; keeps coffee warm through a long call. Holds 350 ml and goes into the dishwasher.",
    option: {
      title: "Glaze",
      values: [
        { value: "Pine", sku: "SF-MUG-PINE", price: 18 },
        { value: "Oat", sku: "SF-MUG-OAT", price: 18 },
        { value: "Brick", sku: "SF-MUG-BRICK", price: 20 },
      ],
    },
  },
  one(
    "serving-board",
    "Walnut Serving Board",
    "Kitchen",
    42.5,
    "One plank of oiled walnut, cut with the grain and rounded where the hand goes. 40 by 18 cm.",
  ),
  {
    handle: "soy-candle",
    title: "Soy Wax Candle",
    category: "Living",
    description: "Poured into a glass that is worth keeping. Cotton wick, 220 g, burns for about 45 hours.",
    option: {
      title: "Scent",
      values: [
        { value: "Fig", sku: "SF-CANDLE-FIG", price: 24 },
        { value: "Cedar", sku: "SF-CANDLE-CEDAR", price: 24 },
      ],
    },
  },
  one(
    "linen-cushion",
    "Linen Cushion",
    "Living",
    36,
    "Washed linen over feathers, soft from the first evening. The cover comes off with a hidden zip. 45 by 45 cm.",
  ),
  one(
    "desk-lamp",
    "Enamel Desk Lamp",
    "Desk",
    79,
    "Steel, enamelled in one colour inside and out, with a head that stays where it is put. Takes any E27 bulb.",
  ),
  {
    handle: "notebook",
    title: "Thread-bound Notebook",
    category: "Desk",
    description: "Lies flat on every page. 160 pages of 90 g paper that fountain pens like, A5, in a cloth cover.",
    option: {
      title: "Ruling",
      values: [
        { value: "Plain", sku: "SF-NOTEBOOK-PLAIN", price: 14 },
        { value: "Dotted", sku: "SF-NOTEBOOK-DOTTED", price: 14 },
      ],
    },
  },
]

export const DELIVERIES = [
  { name: "Standard delivery", code: "standard", description: "With you in three to five days.", amount: 5 },
  { name: "Express delivery", code: "express", description: "With you the next working day.", amount: 12 },
]
