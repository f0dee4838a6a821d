/** Markup in which nothing that comes from elsewhere is markup. */

const SIGNS = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" }

/** Text that is markup already. */
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
function escaped(value) {
  if (value instanceof Markup) return value.text
  if (Array.isArray(value)) return value.map(escaped).join("")
  if (value === null || value === undefined || value === false) return ""
  return String(value).replace(/[&<>"']/g, (sign) => SIGNS[/** @type {keyof typeof SIGNS} */ (sign)])
}

/** @param {TemplateStringsArray} words @param {unknown[]} values */
export function html(words, ...values) {
  return new Markup(words.reduce((text, word, index) => text + escaped(values[index - 1]) + word))
}

/** @param {number} amount @param {string} currency a code */
export function money(amount, currency) {
  return new Intl.NumberFormat("en", { style: "currency", currency: currency.toUpperCase() }).format(amount)
}
