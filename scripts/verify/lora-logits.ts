// The half of peft_loads_lora.py that runs in this program.
// usage: node --conditions=source --import tsx scripts/verify/lora-logits.ts BASE FOLDER
// Loads FOLDER/peft and saves it as FOLDER/ours, makes a LoRA of its own as FOLDER/own, and writes the logits that this
// engine computes with each for the tokens of FOLDER/tokens.json as FOLDER/<name>.safetensors.
import { join } from "node:path";
import { z } from "zod";
import { type Adapter, createAdapter, loadAdapter, parseAdapterConfig, saveAdapter } from "#adapters";
import { randomStream } from "#core";
import { readJson, writeSafetensors } from "#formats";
import { embed, leaf, linear } from "#graph";
import { type LoadedModel, llamaHead, loadModel } from "#models";
import { adapterModel, geometryOf } from "#recipes";
import { compile } from "#runtime";
import { hiddenStates } from "#training";

/** Logits [B · S, V] of rows of equal length. */
async function logitsOf(loaded: LoadedModel, adapter: Adapter, rows: readonly (readonly number[])[]) {
  const model = adapterModel(loaded, adapter);
  const [count, length] = [rows.length, rows[0]?.length ?? 0];
  const hidden = hiddenStates(model.config, {
    shape: { rows: count, length },
    weights: model.weights,
    linear: model.linear({ rows: count, length }, undefined),
  });
  const { norm, head } = llamaHead(model.config, model.weights);
  const wanted = embed(hidden, leaf("rows", ["n"], "int32"));
  await using program = await compile({ logits: linear(norm(wanted), head) });
  for (const [name, data] of [...model.weightData, ...model.parameters])
    if (program.inputs.has(name)) program.bind({ [name]: data });
  const every = Int32Array.from({ length: count * length }, (_, i) => i);
  const grid = (data: Int32Array) => ({ shape: [count, length], data });
  const { logits } = await program.run({
    ids: grid(Int32Array.from(rows.flat())),
    positions: grid(every.map((i) => i % length)),
    segments: grid(every.map(() => 1)),
    rows: { shape: [every.length], data: every },
  });
  if (!(logits?.data instanceof Float32Array)) throw new Error("no logits");
  return { shape: logits.shape, data: logits.data };
}

/** A LoRA of unlike settings with random numbers in it. */
function ownAdapter({ config }: LoadedModel): Adapter {
  const settings = { method: "lora", rank: 4, alpha: 6, targets: ["q_proj", "v_proj", "down_proj"] };
  const adapter = createAdapter(parseAdapterConfig(settings), geometryOf(config));
  for (const [name, { data }] of adapter.tensors) {
    const random = randomStream(1, name);
    if (data instanceof Float32Array) data.set(data.map(() => 0.1 * random.normal()));
  }
  return adapter;
}

const [base, folder] = process.argv.slice(2);
if (base === undefined || folder === undefined) throw new Error("usage: lora-logits.ts BASE FOLDER");
const loaded = await loadModel(base);
const rows = await readJson(join(folder, "tokens.json"), z.array(z.array(z.int())), { code: "bad_data" });
const { config, fingerprint } = loaded;
const given = await loadAdapter(join(folder, "peft"), { geometry: geometryOf(config), fingerprint });
for (const [name, adapter] of [
  ["ours", given],
  ["own", ownAdapter(loaded)],
] as const) {
  await saveAdapter(join(folder, name), adapter, { base: { name: base, fingerprint } });
  const logits = await logitsOf(loaded, adapter, rows);
  await writeSafetensors(join(folder, `${name}.safetensors`), { logits: { dtype: "F32", ...logits } });
  console.log(`${name}: ${adapter.tensors.size} tensors, rank ${adapter.config.rank}`);
}
