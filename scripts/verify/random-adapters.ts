// Adapters with random numbers in them, one of every method, for the checks by other programs.
// usage: node --conditions=source --import tsx scripts/verify/random-adapters.ts BASE FOLDER [DEVIATION] [NAME]
// Saves FOLDER/<name> for each method and for the ablations of MoS, or NAME alone; zeros of a new adapter become normal
// numbers of this standard deviation (0.1). Prints the names.
import { join } from "node:path";
import {
  type Adapter,
  createAdapter,
  METHOD_NAMES,
  methodOf,
  methods,
  parseAdapterConfig,
  saveAdapter,
} from "#adapters";
import { randomStream } from "#core";
import { loadModel } from "#models";
import { geometryOf } from "#recipes";

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

function fillZeros({ config, geometry, tensors }: Adapter, deviation: number): void {
  for (const { name, role } of methodOf(config).tensors(geometry)) {
    const data = tensors.get(name)?.data;
    if (role !== "trainable" || !(data instanceof Float32Array) || data.some((value) => value !== 0))
      continue;
    const random = randomStream(7, name);
    data.set(data.map(() => deviation * random.normal()));
  }
}

const [base, folder, deviation = "0.1", only] = process.argv.slice(2);
if (base === undefined || folder === undefined)
  throw new Error("usage: random-adapters.ts BASE FOLDER [DEVIATION] [NAME]");
const { config, fingerprint, name: model } = await loadModel(base);
for (const [name, given] of settings()) {
  if (only !== undefined && only !== name) continue;
  const adapter = createAdapter(parseAdapterConfig(given, name), geometryOf(config));
  fillZeros(adapter, Number(deviation));
  await saveAdapter(join(folder, name), adapter, { base: { name: model, fingerprint } });
  console.log(name);
}
