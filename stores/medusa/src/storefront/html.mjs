/** HTML templates that escape every inserted value unless it is markup itself. */

const ENTITIES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" }

/** Text that is markup already and is not escapeValue again. */
export class Markup {
  /** @param {string} text */
  constructor(text) {
    this.text = text
  }

  toString() {
    return this.text
  }
}

/** @param {unknown} value @returns {string} */
function escapeValue(value) {
  if (value instanceof Markup) return value.text
  if (Array.isArray(value)) return value.map(escapeValue).join("")
  if (value === null || value === undefined || value === false) return ""
  return String(value).replace(
    /[&<>"']/g,
    (character) => ENTITIES[/** @type {keyof typeof ENTITIES} */ (character)],
  )
}

/**
 * Template tag that escapes its values.
 *
 * @param {TemplateStringsArray} parts @param {unknown[]} values
 */
export function html(parts, ...values) {
  const join = (
    /** @type {string} */ text,
    /** @type {string} */ part,
    /** @type {number} */ index,
  ) => text + escapeValue(values[index - 1]) + part
  return new Markup(parts.reduce(join))
}

/** @param {number} amount @param {string} currency ISO 4217 code */
export function formatMoney(amount, currency) {
  return new Intl.NumberFormat("en", {
    style: "currency",
    currency: currency.toUpperCase(),
  }).format(amount)
}
