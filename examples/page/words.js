// What the page says of itself.
import { text } from "./elements.js";

/**
 * Says what has happened, to those who cannot see it, too.
 *
 * @param {string} news
 */
export function announce(news) {
  text("status").textContent = news;
  text("news").textContent = news;
}

/**
 * Says what went wrong, where the visitor looks then: the button that they pressed may be far below.
 *
 * @param {unknown} error
 */
export function tell(error) {
  const notice = text("notice");
  notice.textContent = error instanceof Error ? error.message : String(error);
  notice.hidden = false;
  notice.focus();
}

/** @param {number} bytes */
export const describeBytes = (bytes) =>
  bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
