// The variants of a training step that are compared, and their table.
import { markdownTable } from "../../packages/lab/src/evaluation/results.ts";
import { rounded } from "../arguments.ts";

/** Where models, data and programs are. */
export interface Places {
  readonly model: (name: string) => string;
  readonly data: string;
  readonly llama: string;
  readonly python: string;
  /** Steps of a run on random tokens; the first is not counted. */
  readonly steps: number;
}

export interface Variant {
  readonly name: string;
  /** A command line that prints a JSON line at its end. */
  readonly command: string;
}

/** A number over the rounds. */
export interface Measured {
  readonly median: number;
  readonly least: number;
  readonly most: number;
  readonly rounds: number;
}

export type Measurements = (variant: string, field: string) => Measured;

const OURS = [
  ["ours float32", "--base-dtype float32"],
  ["ours stored", "--base-dtype stored"],
  ["ours int8 compute", "--base-dtype stored --compute-dtype int8"],
] as const;
const PEFT = [
  ["PEFT float32", "--dtype float32"],
  ["PEFT bfloat16", "--dtype bfloat16"],
] as const;

/** A LoRA of rank 8 on random tokens at the shape of Llama 3.2 1B, and MoS against LoRA on GSM8K. */
export function TRAIN({ model, data, python, steps }: Places): Readonly<Record<string, readonly Variant[]>> {
  const ours = (args: string, dtype: string): string => `npm run -s bench:train -- ${args} ${dtype} --json`;
  const peft = (args: string, dtype: string): string =>
    `${python} bench/peers/peft_train.py ${args} ${dtype}`;
  const shape = (rows: number): readonly Variant[] => {
    const size = `--batch ${rows} --seq 256 --steps ${steps}`;
    return [
      ...OURS.map(([name, dtype]) => ({
        name,
        command: ours(`--model ${model("llama3.2-1b.Q4_0.gguf")} ${size}`, dtype),
      })),
      ...PEFT.map(([name, dtype]) => ({ name, command: peft(`llama3.2-1b ${size}`, dtype) })),
    ];
  };
  const small = model("SmolLM2-135M-Instruct.Q4_1.gguf");
  const examples = `--data ${data} --max-examples 128 --batch 8`;
  return {
    "train-1x256": shape(1),
    "train-4x256": shape(4),
    gsm8k: [
      ...OURS.map(([name, dtype]) => ({
        name,
        command: ours(`--model ${small} ${examples} --method mos`, dtype),
      })),
      ...PEFT.map(([name, dtype]) => ({ name, command: peft(`${small} ${examples}`, dtype) })),
    ],
  };
}

/** Ratios to each variant that there is, and what is measured of each. */
export function trainTable(variants: readonly Variant[], measured: Measurements): string {
  const field = variants.some(({ command }) => command.includes("--data"))
    ? "examples_per_s"
    : "tokens_per_s";
  const names = variants.map(({ name }) => name);
  const rows = names.map((name) => {
    const speed = measured(name, field);
    const memory = measured(name, "peak_rss_gb");
    const ratios = names.map((other) => rounded(speed.median / measured(other, field).median, 2));
    return [name, `${speed.median} (${speed.least}–${speed.most})`, memory.median, ...ratios].map(String);
  });
  const head = ["", field.replace("_per_s", "/s"), "peak GB", ...names.map((name) => `× ${name}`)];
  return markdownTable([head, ...rows]);
}
