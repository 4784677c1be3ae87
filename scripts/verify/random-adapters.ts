// Adapters with random numbers in them, one of every method, for the checks by other programs.
// usage: node --conditions=source --import tsx scripts/verify/random-adapters.ts BASE FOLDER [DEVIATION] [NAME]
// Saves FOLDER/<name> for each method and for the ablations of MoS, or NAME alone; zeros of a new adapter become normal
// numbers of this standard deviation (0.1). Prints the names.
import { join } from "node:path";
import {
  METHOD_NAMES,
  methods,
  parseAdapterConfig,
  saveAdapter,
  startAdapter,
} from "mixture-of-shards-core/adapters";
import { loadBase, toBaseShapes } from "mixture-of-shards-core/models";
import { fillRandom } from "../../packages/core/test/random-adapter.ts";

/** Settings that fit every base of two layers and more whose widths are even; alpha is an unlikely one. */
function settings(): ReadonlyMap<string, unknown> {
  const found = new Map<string, unknown>();
  for (const name of METHOD_NAMES) {
    const { example } = methods[name];
    found.set(name, { ...example, dropout: 0.1, ...("alpha" in example ? { alpha: 13 } : {}) });
  }
  const { example } = methods.mos;
  found.set("mos-sp", { ...example, privateRank: 0 });
  found.set("mos-vs", { ...example, shardsPerVector: 1 });
  found.set("mos-pd", { ...example, pairDissociation: false });
  found.set("mos-qv", { ...example, targets: ["q_proj", "v_proj"] });
  return found;
}

const [base, folder, deviation = "0.1", only] = process.argv.slice(2);
if (base === undefined || folder === undefined)
  throw new Error("usage: random-adapters.ts BASE FOLDER [DEVIATION] [NAME]");
const { config, fingerprint, name: model, path } = await loadBase(base);
const shapes = toBaseShapes({ config, path });
for (const [name, given] of settings()) {
  if (only !== undefined && only !== name) continue;
  const numbers = { seed: 7, deviation: Number(deviation), only: "zeros" } as const;
  const adapter = fillRandom(await startAdapter(parseAdapterConfig(given), shapes), numbers);
  await saveAdapter(join(folder, name), adapter, { base: { name: model, fingerprint } });
  console.log(name);
}
