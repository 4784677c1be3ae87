// How layers get their vectors from a pool, with a small adapter's own routing.
import { createAdapter, parseAdapterConfig } from "#adapters";
import { escapeXml } from "./terminal.ts";

const SETTINGS = { rank: 4, equivalentRank: 2, shardsPerVector: 4, privateRank: 1 } as const;
const LAYERS = 3;
const { rank: r, equivalentRank: e, shardsPerVector: l, privateRank: p } = SETTINGS;
const SHARED = LAYERS * (e - p) * l;

const CELL = { width: 36, height: 26 };
const GRID = l * CELL.width;
const POOL_LEFT = 24;
const LAYERS_LEFT = 336;
const TOP = 72;
const WIDTH = 892;
const HEIGHT = 344;
/** One colour for each shared vector of the pool, then one for each layer's own. */
const FILLS = ["#9ecbff", "#a5e3b4", "#ffd58a", "#e3c1f7", "#d5b0ef", "#c79fe6"];

interface Place {
  readonly x: number;
  readonly y: number;
}

/** A's routing: [layers, r·l] shards of the pool. */
function routing(): readonly (readonly number[])[] {
  const config = parseAdapterConfig({ method: "mos", ...SETTINGS, targets: ["q_proj"], seed: 0 });
  const { tensors } = createAdapter(config, { layers: LAYERS, widths: { q_proj: { in: 64, out: 64 } } });
  const table = tensors.get("q_proj.I_a")?.data;
  if (table === undefined) throw new Error("the adapter has no q_proj.I_a");
  return Array.from({ length: LAYERS }, (_, k) => [...table.subarray(k * r * l, (k + 1) * r * l)]);
}

/** Where a shard stands in the pool; between shared and own ones there is a gap for a heading. */
const placeInPool = (shard: number): Place => ({
  x: POOL_LEFT + (shard % l) * CELL.width,
  y: TOP + Math.floor(shard / l) * CELL.height + (shard < SHARED ? 0 : 30),
});

const placeInLayer = (layer: number, place: number): Place => ({
  x: LAYERS_LEFT + layer * (GRID + 44) + (place % l) * CELL.width,
  y: TOP + Math.floor(place / l) * CELL.height,
});

function cell(shard: number, { x, y }: Place): string {
  const fill = FILLS[Math.floor(shard / l)];
  const middle = `x="${x + CELL.width / 2}" y="${y + 17.5}"`;
  return (
    `<rect class="cell" x="${x}" y="${y}" width="${CELL.width}" height="${CELL.height}" fill="${fill}"/>` +
    `<text class="number" ${middle}>${shard}</text>`
  );
}

const say = (place: Place, text: string, kind = ""): string =>
  `<text x="${place.x}" y="${place.y}"${kind === "" ? "" : ` class="${kind}"`}>${escapeXml(text)}</text>`;

const frame = ({ x, y }: Place, width: number): string =>
  `<rect class="frame" x="${x}" y="${y}" width="${width}" height="${CELL.height}"/>`;

/** The first vector of layer 0, and where its shards stand in the pool. */
function example(table: readonly number[]): string {
  const to = placeInLayer(0, 0);
  const y = to.y + CELL.height / 2;
  return [
    ...table.slice(0, l).map((shard) => frame(placeInPool(shard), CELL.width)),
    frame(to, GRID),
    `<path class="arrow" d="M${POOL_LEFT + GRID + 8} ${y}H${to.x - 6}"/>`,
  ].join("");
}

const STYLE = `
.card{fill:#ffffff;stroke:#d0d7de}text{font:13px system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;fill:#1f2328}
.title{font-weight:600;font-size:14px}.note{fill:#59636e;font-size:12px}.number{fill:#1f2328;text-anchor:middle;font-size:12px}
.cell{stroke:#ffffff;stroke-width:1.5}.frame{fill:none;stroke:#d1242f;stroke-width:2.5}
.arrow{stroke:#d1242f;stroke-width:2;marker-end:url(#head)}.head{fill:#d1242f}
@media (prefers-color-scheme:dark){.card{fill:#0d1117;stroke:#3d444d}text{fill:#e6edf3}.note{fill:#9198a1}.number{fill:#1f2328}
.cell{stroke:#0d1117}.frame,.arrow{stroke:#e5534b}.head{fill:#e5534b}}`;

export function drawPools(): string {
  const table = routing();
  const ownRow = placeInLayer(0, (r - p) * l).y;
  const below = ownRow + p * CELL.height;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img" aria-label="${LAYERS} layers put ${r} vectors each together from the shards of one pool">`,
    `<style>${STYLE}</style>`,
    `<defs><marker id="head" viewBox="0 0 6 6" refX="5" refY="3" markerWidth="6" markerHeight="6" orient="auto"><path class="head" d="M0 0L6 3L0 6z"/></marker></defs>`,
    `<rect class="card" x="0.5" y="0.5" width="${WIDTH - 1}" height="${HEIGHT - 1}" rx="8"/>`,
    say({ x: POOL_LEFT, y: 30 }, "The pool: what is trained", "title"),
    say({ x: POOL_LEFT, y: 50 }, `${LAYERS * e * l} shards, each a quarter of a vector`, "note"),
    say(
      { x: LAYERS_LEFT, y: 30 },
      `What the layers get: ${r} vectors each, a factor A of rank ${r}`,
      "title",
    ),
    say(
      { x: LAYERS_LEFT, y: 50 },
      `each vector is joined from ${l} shards, taken from anywhere in the pool`,
      "note",
    ),
    ...Array.from({ length: LAYERS * e * l }, (_, shard) => cell(shard, placeInPool(shard))),
    say({ x: POOL_LEFT + GRID + 12, y: TOP + 43 }, "shared by", "note"),
    say({ x: POOL_LEFT + GRID + 12, y: TOP + 59 }, "all layers", "note"),
    ...table.map((_, k) =>
      say(
        { x: POOL_LEFT + GRID + 12, y: placeInPool(SHARED + k * p * l).y + 17.5 },
        `layer ${k}'s own`,
        "note",
      ),
    ),
    ...table.flatMap((row, k) => [
      ...row.map((shard, place) => cell(shard, placeInLayer(k, place))),
      say({ x: placeInLayer(k, 0).x, y: below + 20 }, `layer ${k}`),
    ]),
    example(table[0] ?? []),
    say(
      { x: LAYERS_LEFT, y: below + 46 },
      "The last vector of each comes from shards that no other layer uses.",
      "note",
    ),
    say(
      { x: LAYERS_LEFT, y: below + 66 },
      "Which shard goes where is drawn once from the seed, and never trained.",
      "note",
    ),
    say(
      { x: POOL_LEFT, y: HEIGHT - 44 },
      `With as many numbers LoRA has rank ${e}: ${e} vectors for each of ${LAYERS} layers, and no sharing. Here they act as rank ${r}.`,
    ),
    say({ x: POOL_LEFT, y: HEIGHT - 22 }, "B is made in the same way, from a pool and a draw of its own."),
    "</svg>",
    "",
  ].join("\n");
}
