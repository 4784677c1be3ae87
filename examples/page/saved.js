// What the visitor has written and chosen, which stays in this browser until the next visit.

const KEY = "page";

/** @typedef {"examples" | "name" | "question" | "model" | "adapter" | "run"} Name */

/** @type {Partial<Record<Name, string>>} */
const saved = read();

function read() {
  try {
    return Object(JSON.parse(localStorage.getItem(KEY) ?? "{}"));
  } catch {
    return {}; // a browser that keeps nothing
  }
}

/** @param {Name} name */
export const recall = (name) => saved[name];

/**
 * @param {Name} name
 * @param {string} value
 */
export function remember(name, value) {
  saved[name] = value;
  try {
    localStorage.setItem(KEY, JSON.stringify(saved));
  } catch {
    // as above
  }
}
