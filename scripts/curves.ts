// Draws metrics of runs as small curves, one beside the other: npm run curves -- OUT.svg RUN=METRIC [RUN=METRIC …]
// A run is its folder, and a metric a field of its metrics.jsonl, such as loss or rewards/margins.
import { writeFile } from "node:fs/promises";
import { basename } from "node:path";
import { readMeasurements } from "mixture-of-shards-core/training";

const [WIDTH, HEIGHT, GAP] = [230, 120, 20];
/** Around the curve: for the title above, the numbers below. */
const [TOP, BOTTOM] = [28, 22];

const STYLE =
  "text{font:12px DejaVu Sans,Verdana,sans-serif;fill:#222}.pale{fill:#555}path{fill:none;stroke:#0072b2;stroke-width:2}" +
  "rect{fill:#fff;stroke:#ddd}@media(prefers-color-scheme:dark){text{fill:#e6edf3}.pale{fill:#a5adb6}path{stroke:#56b4e9}rect{fill:#0d1117;stroke:#30363d}}";

type Point = readonly [step: number, value: number];

async function readCurve(folder: string, metric: string): Promise<readonly Point[]> {
  const points: Point[] = [];
  for await (const { measurement } of readMeasurements(folder)) {
    const { type, step, metrics = {}, ...own } = measurement;
    const value = new Map<string, unknown>(Object.entries({ ...metrics, ...own })).get(metric);
    if (type === "step" && typeof value === "number") points.push([step, value]);
  }
  if (points.length < 2) throw new Error(`${folder}: metrics.jsonl has no curve of ${metric}`);
  return points;
}

/** A mean over the updates around each, since single ones leap. */
const smooth = (points: readonly Point[]): readonly Point[] => {
  const reach = Math.floor(points.length / 20);
  return points.map(([step], i) => {
    const near = points.slice(Math.max(0, i - reach), i + reach + 1);
    return [step, near.reduce((sum, [, value]) => sum + value, 0) / near.length];
  });
};

const short = (value: number): string => String(Number(value.toPrecision(2)));

function panel(title: string, points: readonly Point[], at: number): string {
  const values = points.map(([, value]) => value);
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const [first, last] = [points[0], points.at(-1)] as [Point, Point];
  const x = (step: number): number => 8 + ((WIDTH - 16) * (step - first[0])) / (last[0] - first[0]);
  const y = (value: number): number => TOP + 6 + ((HEIGHT - 12) * (most - value)) / (most - least || 1);
  const line = points.map(([step, value]) => `${x(step).toFixed(1)} ${y(value).toFixed(1)}`).join("L");
  const end = TOP + HEIGHT + 16;
  return (
    `<g transform="translate(${at} 0)"><text x="0" y="16">${title}</text>` +
    `<rect x="0.5" y="${TOP + 0.5}" width="${WIDTH - 1}" height="${HEIGHT - 1}"/><path d="M${line}"/>` +
    `<text class="pale" x="0" y="${end}">${short(first[1])}</text>` +
    `<text class="pale" x="${WIDTH}" y="${end}" text-anchor="end">${short(last[1])} after ${last[0]} updates</text></g>`
  );
}

const [out, ...wanted] = process.argv.slice(2);
if (out === undefined || wanted.length === 0)
  throw new Error("usage: npm run curves -- OUT.svg RUN=METRIC [RUN=METRIC …]");
const panels: string[] = [];
for (const [i, text] of wanted.entries()) {
  const [folder = "", metric = "loss"] = text.split("=");
  const points = smooth(await readCurve(folder, metric));
  panels.push(panel(`${basename(folder)}: ${metric}`, points, i * (WIDTH + GAP)));
}
const [width, height] = [wanted.length * (WIDTH + GAP) - GAP, TOP + HEIGHT + BOTTOM];
await writeFile(
  out,
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">\n` +
    `<style>${STYLE}</style>\n${panels.join("\n")}\n</svg>\n`,
);
