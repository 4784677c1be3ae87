// The loss of a run as a line: each update faintly, and the mean over one pass through the examples.

const [WIDTH, HEIGHT] = [520, 190];
const [LEFT, RIGHT, TOP, BOTTOM] = [34, 8, 8, 24];

/**
 * Adds an element to a picture.
 *
 * @param {SVGElement} parent
 * @param {string} name
 * @param {Readonly<Record<string, string | number>> & { text?: string }} attributes
 */
export function draw(parent, name, { text, ...attributes }) {
  const element = /** @type {SVGElement} */ (document.createElementNS("http://www.w3.org/2000/svg", name));
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}

/** @param {readonly number[]} numbers */
const mean = (numbers) => numbers.reduce((sum, number) => sum + number, 0) / numbers.length;

/**
 * Means of each number and those before it.
 *
 * @param {readonly number[]} losses
 * @param {number} window
 */
export const smooth = (losses, window) =>
  losses.map((_, i) => mean(losses.slice(Math.max(0, i + 1 - window), i + 1)));

/**
 * @param {SVGElement} chart
 * @param {{ losses: readonly number[], steps: number, window: number }} run
 */
export function drawLoss(chart, { losses, steps, window }) {
  chart.replaceChildren();
  const most = Math.max(1, Math.ceil(Math.max(...losses)));
  const x = (/** @type {number} */ step) => LEFT + ((WIDTH - LEFT - RIGHT) * step) / Math.max(1, steps);
  const y = (/** @type {number} */ loss) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - loss / most);
  for (const share of [0, 0.5, 1]) {
    const [loss, step] = [most * share, Math.round(steps * share)];
    draw(chart, "line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(loss), y2: y(loss) });
    draw(chart, "text", { x: LEFT - 8, y: y(loss) + 4, "text-anchor": "end", text: String(loss) });
    const anchor = share === 1 ? "end" : "middle";
    draw(chart, "text", { x: x(step), y: HEIGHT - 6, "text-anchor": anchor, text: String(step) });
  }
  const path = (/** @type {readonly number[]} */ values) =>
    `M${values.map((loss, i) => `${x(i + 1).toFixed(1)} ${y(loss).toFixed(1)}`).join("L")}`;
  if (losses.length > 1) {
    draw(chart, "path", { class: "single", d: path(losses) });
    draw(chart, "path", { class: "mean", d: path(smooth(losses, window)) });
  }
  const [first = 0, last = 0] = [losses[0], smooth(losses, window).at(-1)];
  chart.setAttribute(
    "aria-label",
    losses.length === 0
      ? "The loss, once it trains"
      : `The loss fell from ${first.toFixed(2)} to ${last.toFixed(2)} in ${losses.length} of ${steps} updates`,
  );
}
