// What the page is made of, by their names in index.html, and the words that it says.

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

/**
 * Says what has happened, to those who cannot see it, too.
 *
 * @param {string} news
 */
export function announce(news) {
  text("status").textContent = news;
  text("news").textContent = news;
}

/** @param {unknown} error */
export function tell(error) {
  const notice = find("notice", HTMLElement);
  notice.textContent = error instanceof Error ? error.message : String(error);
  notice.hidden = false;
}

/** @param {number} bytes */
export const describeBytes = (bytes) =>
  bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
