// The cells of the study as a table: held-out loss of every kind of base, seed by seed, beside float32's.
import { z } from "zod";

/** What is kept of one training. */
export const cellSchema = z.object({
  method: z.enum(["lora", "mos"]),
  kind: z.string(),
  seed: z.int(),
  /** Held-out loss in nats a token before the first and after the last update. */
  before: z.number(),
  after: z.number(),
  /** The loss of every update. */
  steps: z.array(z.number()),
  tokensPerSecond: z.number(),
  settings: z.string(),
});
export type Cell = z.output<typeof cellSchema>;

const NAMES: Readonly<Record<string, string>> = {
  float32: "float32",
  stored: "as stored (Q4_1), products in float32",
  "int8-compute": "as stored, `--compute int8`",
  int8: "int8, blocks of 64",
  int4: "int4, blocks of 32",
  nf4: "NF4, blocks of 64",
};

const METHODS = { lora: "LoRA, r = 8, alpha 16", mos: "MoS, e = 2, r = 8" } as const;

/** The most that a kind's mean may differ from float32's. */
const TARGETS: Readonly<Record<string, string>> = { "int8-compute": "0.5 %", nf4: "2 %" };

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
const deviation = (values: readonly number[]): number =>
  Math.sqrt(values.reduce((sum, x) => sum + (x - mean(values)) ** 2, 0) / (values.length - 1));
const spread = (values: readonly number[], digits = 4): string =>
  `${mean(values).toFixed(digits)}${values.length > 1 ? ` ± ${deviation(values).toFixed(digits)}` : ""}`;
const percent = (values: readonly number[]): string =>
  `${mean(values) < 0 ? "−" : "+"}${Math.abs(mean(values)).toFixed(2)} %${values.length > 1 ? ` ± ${deviation(values).toFixed(2)}` : ""}`;

function rowOf(
  kind: string,
  { cells, float }: { readonly cells: readonly Cell[]; readonly float: readonly Cell[] },
): string {
  const pairs = cells.flatMap((cell) => {
    const other = float.find(({ seed }) => seed === cell.seed);
    return other === undefined ? [] : [{ cell, other }];
  });
  const relative = pairs.map(({ cell, other }) => 100 * (cell.after / other.after - 1));
  const steps = pairs.map(({ cell, other }) =>
    Math.max(...cell.steps.map((loss, i) => Math.abs(loss - (other.steps[i] ?? Number.NaN)))),
  );
  const isFloat = kind === "float32";
  return `| ${[
    NAMES[kind] ?? kind,
    spread(cells.map(({ before }) => before)).replace(/ ± 0.0000$/, ""),
    cells.map(({ after }) => after.toFixed(4)).join(", "),
    spread(cells.map(({ after }) => after)),
    isFloat || relative.length === 0 ? "–" : percent(relative),
    TARGETS[kind] ?? "–",
    isFloat || steps.length === 0 ? "–" : Math.max(...steps).toFixed(3),
  ].join(" | ")} |`;
}

function tableOf(method: Cell["method"], cells: readonly Cell[]): string {
  const of = (kind: string): readonly Cell[] =>
    cells.filter((cell) => cell.method === method && cell.kind === kind).sort((a, b) => a.seed - b.seed);
  const kinds = Object.keys(NAMES).filter((kind) => of(kind).length > 0);
  if (kinds.length === 0) return "";
  const seeds = [...new Set(cells.filter((cell) => cell.method === method).map(({ seed }) => seed))].sort();
  return [
    `## ${METHODS[method]}, seeds ${seeds.join(", ")}`,
    "",
    "| base | before | after, by seed | mean ± deviation | to float32, same seed | target | largest difference of a step's loss |",
    "|---|---|---|---|---|---|---|",
    ...kinds.map((kind) => rowOf(kind, { cells: of(kind), float: of("float32") })),
    "",
  ].join("\n");
}

/** docs/results/base-quality.md. */
export function reportOf(cells: readonly Cell[]): string {
  return [
    "# What a base in fewer bits does to training",
    "",
    "SmolLM2-135M-Instruct (Q4_1) learns GSM8K: 100 updates of 4 packed rows of 512 tokens out of the train split, learning rate",
    "0.002 (linear, 3 % warm-up), no dropout. Loss in nats a target token on the first 128 examples of the test split, before",
    "and after. Deviations are over seeds; differences are of the same seed, so of the same batches and the same initial adapter.",
    "Every cell is a file of [base-quality/](base-quality); those that are missing there were not run.",
    "",
    "```sh",
    "npm run build && npm run verify:base-quality -- --model SmolLM2-135M-Instruct.Q4_1.gguf --data gsm8k --work runs",
    "```",
    "",
    ...(["lora", "mos"] as const).map((method) => tableOf(method, cells)),
  ].join("\n");
}
