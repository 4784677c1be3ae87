// What moving an adapter between forms of its base costs: trained on each, its validation loss on each.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Adapter, loadAdapter } from "mixture-of-shards-core/adapters";
import { readDataset } from "mixture-of-shards-core/data";
import {
  type BaseDtype,
  type BaseModel,
  loadBase,
  loadModelText,
  toLayerShapes,
} from "mixture-of-shards-core/models";
import { finetune, validationLoss } from "mixture-of-shards-core/training";
import { type Arguments, fail, readArguments, rounded } from "../../bench/arguments.ts";

const HELP = `usage: npm run verify:base-dtypes -- --model PATH --validation-data FILE (--data FILE --out FOLDER | --adapter FOLDER) [options]

Validation loss of adapters on every form of one base, in nats. With --data an adapter is trained on each form (rows of the
table) and measured on each (columns); with --adapter that one alone is measured. The base itself is the first row.

  --model PATH        GGUF file or model folder
  --validation-data FILE  JSON Lines to measure on
  --data FILE         JSON Lines to train on
  --out FOLDER        where the adapters go; those that are there are not trained again
  --adapter FOLDER    an adapter that exists
  --bases LIST        forms of the base (float32,stored,int8,int4,nf4,compute-int8); the last one computes in int8
  --method NAME       mos (e 2) or lora; default mos
  --rank N            (8)
  --steps N           updates (100)
  --batch-size N      rows of a batch (4)
  --max-length N      tokens of a row (512)
  --learning-rate X   (1e-3)
  --max-examples N    validation examples, from the first (100)
  --seeds N           adapters of each form (1); printed are mean and standard deviation, or with --json each
  --threads N         (one for each core)
  --json              one JSON object`;

interface Base {
  readonly name: string;
  readonly baseDtype: BaseDtype;
  readonly computeDtype: "float32" | "int8";
}

const BASES: readonly Base[] = [
  ...(["float32", "stored", "int8", "int4", "nf4"] as const).map(
    (baseDtype): Base => ({ name: baseDtype, baseDtype, computeDtype: "float32" }),
  ),
  { name: "compute-int8", baseDtype: "stored", computeDtype: "int8" },
];

const MOS = { method: "mos", equivalentRank: 2, shardsPerVector: 4, privateRank: 1 };
const ADAPTERS: Readonly<Record<string, object>> = { mos: MOS, lora: { method: "lora" } };

interface Plan {
  readonly model: string;
  readonly bases: readonly Base[];
  readonly validation: string;
  readonly examples: number;
  readonly adapter: string | undefined;
  readonly data: string | undefined;
  readonly out: string | undefined;
  readonly method: object;
  readonly seeds: number;
  readonly settings: { steps: number; batchSize: number; maxLength: number; learningRate: number };
  readonly session: { readonly threads?: number };
}

function makePlan(given: Arguments): Plan {
  const needed = (name: string): string => given.text(name) ?? fail(`--${name} is needed; see --help`);
  const names = (given.text("bases") ?? BASES.map(({ name }) => name).join()).split(",");
  const base = (name: string): Base =>
    BASES.find((one) => one.name === name) ??
    fail(`--bases: ${name} is none of ${BASES.map((one) => one.name).join(", ")}`);
  const method = given.text("method") ?? "mos";
  const [adapter, data] = [given.text("adapter"), given.text("data")];
  if ((adapter === undefined) === (data === undefined)) fail("give one of --data and --adapter");
  const threads = given.number("threads", 0);
  return {
    model: needed("model"),
    bases: names.map(base),
    validation: needed("validation-data"),
    examples: given.number("max-examples", 100),
    adapter,
    data,
    out: data === undefined ? undefined : needed("out"),
    method: {
      ...(ADAPTERS[method] ?? fail(`--method ${method} is none of ${Object.keys(ADAPTERS).join(", ")}`)),
      rank: given.number("rank", 8),
    },
    seeds: given.number("seeds", 1),
    settings: {
      steps: given.number("steps", 100),
      batchSize: given.number("batch-size", 4),
      maxLength: given.number("max-length", 512),
      learningRate: given.number("learning-rate", 1e-3),
    },
    session: threads === 0 ? {} : { threads },
  };
}

async function openBase({ model: path }: Plan, { baseDtype, computeDtype }: Base): Promise<BaseModel> {
  const model = await loadBase(path, { baseDtype, computeDtype });
  return { model, text: await loadModelText(model.source) };
}

/** Trains what is not there; gives the folders of a form's adapters, one of each seed. */
async function trainedOn(plan: Plan, base: Base): Promise<readonly string[]> {
  const { data = "", out = "", method, seeds, settings, session } = plan;
  const folders = Array.from({ length: seeds }, (_, seed) => join(out, base.name, `seed-${seed}`));
  const missing = folders.filter((folder) => !existsSync(join(folder, "adapter_config.json")));
  if (missing.length === 0) return folders;
  const model = await openBase(plan, base);
  for (const folder of missing) {
    const seed = folders.indexOf(folder);
    const run = {
      model,
      data,
      out: folder,
      overwrite: true,
      session,
      adapter: { ...method, alpha: 16, dropout: 0 } as Parameters<typeof finetune>[0]["adapter"],
      settings: { ...settings, seed, validationSplit: 0, saveEvery: 0 },
    };
    for await (const event of finetune(run))
      if (event.type === "step" && event.step % 10 === 0)
        console.error(
          `${base.name}, seed ${seed}: update ${event.step} of ${settings.steps}, loss ${event.loss.toFixed(4)}`,
        );
  }
  return folders;
}

/** The losses on one form: the base's, then those of the adapters of each row. */
async function measuredOn(
  plan: Plan,
  base: Base,
  rows: readonly (readonly string[])[],
): Promise<readonly (readonly number[])[]> {
  const model = await openBase(plan, base);
  const examples = (await readDataset(plan.validation)).examples.slice(0, plan.examples);
  const { fingerprint, identity, config } = model.model;
  const shapes = toLayerShapes(config);
  const settings = {
    ...plan.settings,
    promptFormat: "template" as const,
    system: undefined,
    packing: true,
  };
  const measure = async (adapter?: Adapter): Promise<number> =>
    (await validationLoss(model, examples, { adapter, settings, session: plan.session })).loss;
  const losses = [[await measure()]];
  for (const folders of rows) {
    const row: number[] = [];
    for (const folder of folders)
      row.push(await measure(await loadAdapter(folder, { shapes, fingerprint, identity })));
    losses.push(row);
  }
  console.error(`measured on ${base.name}`);
  return losses;
}

/** Mean and standard deviation. */
function spread(losses: readonly number[]): string {
  const mean = losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
  const squares = losses.reduce((sum, loss) => sum + (loss - mean) ** 2, 0);
  const deviation = losses.length < 2 ? "" : ` ± ${Math.sqrt(squares / (losses.length - 1)).toFixed(4)}`;
  return mean.toFixed(4) + deviation;
}

const given = readArguments(HELP, {
  values: [
    ...[
      "model",
      "validation-data",
      "data",
      "out",
      "adapter",
      "bases",
      "method",
      "steps",
      "batch-size",
      "max-length",
    ],
    ...["learning-rate", "max-examples", "seeds", "threads", "rank"],
  ],
  flags: ["json"],
});
const plan = makePlan(given);
const rows = new Map<string, readonly string[]>();
if (plan.adapter !== undefined) rows.set("adapter", [plan.adapter]);
else for (const base of plan.bases) rows.set(base.name, await trainedOn(plan, base));
const columns = new Map<string, readonly (readonly number[])[]>();
for (const base of plan.bases) columns.set(base.name, await measuredOn(plan, base, [...rows.values()]));

const labels = ["no adapter", ...rows.keys()];
const losses = labels.map((_, row) => [...columns.values()].map((column) => column[row] ?? []));
if (given.flag("json")) {
  const { model, validation, examples, seeds, settings, method, data } = plan;
  const table = Object.fromEntries(
    labels.map((label, row) => [
      label,
      Object.fromEntries(
        [...columns.keys()].map((name, i) => [
          name,
          (losses[row]?.[i] ?? []).map((loss) => rounded(loss, 5)),
        ]),
      ),
    ]),
  );
  console.log(JSON.stringify({ model, validation, examples, data, seeds, method, settings, losses: table }));
} else {
  const cell = (text: string): string => text.padStart(19);
  console.log(`trained on   ${[...columns.keys()].map(cell).join("")}`);
  for (const [row, label] of labels.entries())
    console.log(`${label.padEnd(13)}${(losses[row] ?? []).map((found) => cell(spread(found))).join("")}`);
}
