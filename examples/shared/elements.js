// The elements of a page, by their names in its index.html.

/**
 * @template {Element} Kind
 * @param {string} id
 * @param {new () => Kind} kind
 * @returns {Kind}
 */
export function find(id, kind) {
  const element = document.getElementById(id);
  if (element instanceof kind) return element;
  throw new Error(`the page has no ${kind.name} ${id}`);
}

export const button = (/** @type {string} */ id) => find(id, HTMLButtonElement);
export const text = (/** @type {string} */ id) => find(id, HTMLElement);
export const input = (/** @type {string} */ id) => find(id, HTMLInputElement);
export const select = (/** @type {string} */ id) => find(id, HTMLSelectElement);
export const bar = (/** @type {string} */ id) => find(id, HTMLProgressElement);
export const picture = (/** @type {string} */ id) => find(id, SVGSVGElement);
