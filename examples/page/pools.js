// The picture of a MoS adapter: a pool of trained shards, and the layers whose vectors are joined from them.
import { draw } from "./chart.js";

/**
 * One pool, and what its layers take from it.
 *
 * @typedef {object} Weave
 * @property {number} shared Rows of the pool that are for all layers; the others belong to one.
 * @property {number} perVector Shards of one vector.
 * @property {readonly (readonly number[])[]} layers Rows of each layer's vectors, in order.
 * @property {readonly number[]} norms The length of each shard.
 */

/**
 * The pools of an adapter by type of weight and factor, such as "q_proj A"; none where its method has no pools.
 *
 * @param {FormData} form of `adapterForm`
 * @returns {Promise<ReadonlyMap<string, Weave>>}
 */
export async function readPools(form) {
  const [config, file] = [form.get("adapter_config"), form.get("adapter_model")];
  /** @type {Map<string, Weave>} */
  const found = new Map();
  if (!(config instanceof Blob && file instanceof Blob)) return found;
  const { peft_type, shards_per_vector, private_rank } = JSON.parse(await config.text());
  if (peft_type !== "MOS") return found;
  const tensors = readTensors(await file.arrayBuffer());
  for (const [name, pool] of tensors) {
    const [, linear, factor = ""] = /([a-z_]+)\.([AB])_pool$/.exec(name) ?? [];
    const table = tensors.get(name.replace(/[AB]_pool$/, `I_${factor.toLowerCase()}`));
    if (linear === undefined || table === undefined) continue;
    const own = private_rank * shards_per_vector * table.shape[0];
    const rows = rowsOf(pool);
    found.set(`${linear} ${factor}`, {
      shared: rows.length - own,
      perVector: shards_per_vector,
      layers: rowsOf(table),
      norms: rows.map((row) => Math.hypot(...row)),
    });
  }
  return found;
}

/**
 * A table of a safetensors file.
 *
 * @typedef {{ shape: readonly [number, number], data: Float32Array | Int32Array }} Table
 */

/**
 * The tables of a safetensors file: the length of its header in eight bytes, the header as JSON, and the numbers.
 *
 * @param {ArrayBuffer} bytes
 * @returns {Map<string, Table>}
 */
function readTensors(bytes) {
  const length = Number(new DataView(bytes).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 8, length)));
  delete header.__metadata__;
  return new Map(
    Object.entries(header).map(
      ([
        name,
        {
          dtype,
          shape,
          data_offsets: [from, to],
        },
      ]) => {
        const part = bytes.slice(8 + length + from, 8 + length + to);
        return [name, { shape, data: dtype === "I32" ? new Int32Array(part) : new Float32Array(part) }];
      },
    ),
  );
}

/** @param {Table} table */
const rowsOf = ({ shape: [rows, width], data }) =>
  Array.from({ length: rows }, (_, row) => Array.from(data.subarray(row * width, (row + 1) * width)));

/** Sizes of the picture in its own units, how many pixels one of them is at most, and the layers beside each other. */
const [CELL, HEIGHT, GAP, TITLE] = [15, 12, 6, 20];
const [SCALE, ACROSS] = [1.7, 6];

/**
 * Draws the pool at the left, and the layers beside it.
 *
 * @param {SVGElement} picture
 * @param {Weave} weave
 * @param {(row: number) => void} point called with the shard under the pointer
 */
export function drawPools(picture, { shared, perVector, layers, norms }, point) {
  picture.replaceChildren();
  const vector = perVector * CELL;
  const longest = Math.max(...norms);
  const shard = (/** @type {number} */ row, /** @type {number} */ x, /** @type {number} */ y) => {
    const cell = draw(picture, "rect", { x, y, width: CELL - 1, height: HEIGHT - 1, rx: 2, "data-row": row });
    cell.classList.add("shard", row < shared ? "shared" : "own");
    cell.style.setProperty("--hue", ((264 + (180 * row) / Math.max(1, shared)) % 360).toFixed(0));
    cell.addEventListener("pointerenter", () => point(row));
    return cell;
  };
  const vectors = (
    /** @type {readonly number[]} */ rows,
    /** @type {number} */ left,
    /** @type {number} */ top,
  ) =>
    rows.map((row, i) => shard(row, left + (i % perVector) * CELL, top + Math.floor(i / perVector) * HEIGHT));
  const title = (/** @type {string} */ text, /** @type {number} */ x, /** @type {number} */ y) =>
    draw(picture, "text", { x, y, text });

  const rows = norms.map((_, row) => row);
  title(`Pool: ${rows.length} shards`, 0, 12);
  const cut = TITLE + (shared / perVector) * HEIGHT + (shared === rows.length ? 0 : GAP);
  const pool = [...vectors(rows.slice(0, shared), 0, TITLE), ...vectors(rows.slice(shared), 0, cut)];
  pool.forEach((cell, row) => {
    cell.style.setProperty("--strength", (0.35 + (0.65 * (norms[row] ?? 0)) / (longest || 1)).toFixed(2));
  });

  const [left, width] = [Math.max(vector, 110) + 40, vector + 24];
  const tall = ((layers[0]?.length ?? 0) / perVector) * HEIGHT + TITLE + 10;
  layers.forEach((taken, layer) => {
    const [x, y] = [left + (layer % ACROSS) * width, Math.floor(layer / ACROSS) * tall];
    title(`Layer ${layer}`, x, y + 12);
    vectors(taken, x, y + TITLE);
  });
  const poolEnd = cut + ((rows.length - shared) / perVector) * HEIGHT;
  const across = left + Math.min(ACROSS, layers.length) * width;
  const down = Math.max(poolEnd, Math.ceil(layers.length / ACROSS) * tall);
  picture.setAttribute("viewBox", `0 0 ${across} ${down}`);
  picture.setAttribute("width", String(SCALE * across));
}

/**
 * Shows where a shard is used, and says so.
 *
 * @param {SVGElement} picture
 * @param {Weave} weave
 * @param {number} row
 */
export function followShard(picture, { shared, layers, norms }, row) {
  for (const cell of picture.querySelectorAll("[data-row]"))
    cell.classList.toggle("followed", cell.getAttribute("data-row") === String(row));
  const users = layers.flatMap((rows, layer) => (rows.includes(row) ? [layer] : []));
  const by =
    users.length === 0 ? "no layer uses it" : `layer${users.length > 1 ? "s" : ""} ${users.join(", ")}`;
  const whose = row < shared ? "shared by" : "only for";
  return `Shard ${row}, ${users.length === 0 ? by : `${whose} ${by}`}. Its length is ${(norms[row] ?? 0).toFixed(2)}.`;
}

/**
 * What the picture shows, in words.
 *
 * @param {Weave} weave
 */
export function describePools({ shared, perVector, layers, norms }) {
  const places = layers.reduce((sum, rows) => sum + rows.length, 0);
  const own = norms.length > shared ? " Grey ones belong to one layer." : "";
  return `Only the ${norms.length} shards at the left were trained; they fill ${places} places in ${layers.length} layers. A row is a vector, joined from ${perVector} shards, and the same colour is the same shard.${own}`;
}
