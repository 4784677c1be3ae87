// The variants that are compared, and their tables: of a training step, and of decoding and prompt reading at the shape of
// Llama 3.2 1B beside llama.cpp on the same file, with the bytes that a token reads and the bandwidth that this makes.

import { countElements } from "mixture-of-shards-core/common";
import { blockFormats, openGguf } from "mixture-of-shards-core/files";
import { markdownTable } from "../packages/lab/src/evaluation/results.ts";
import { rounded } from "./arguments.ts";
import type { Measured, Measurements, Variant } from "./rounds.ts";

/** Where models, data and programs are. */
export interface Places {
  readonly model: (name: string) => string;
  readonly data: string;
  readonly llama: string;
  readonly python: string;
  /** Steps of a run on random tokens; the first is not counted. */
  readonly steps: number;
}

const OURS = [
  ["ours float32", "--base-dtype float32"],
  ["ours stored", "--compute-dtype float32"],
  ["ours, by default", ""],
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

// --- decoding

/** Tokens of the prompt whose reading is timed, on both sides. */
const PROMPT = 500;
const TYPES = ["Q4_0", "Q4_1"] as const;
const file = (type: string): string => `llama3.2-1b.${type}.gguf`;

export function DECODE({ model, llama }: Places): Readonly<Record<string, readonly Variant[]>> {
  const script = `${process.cwd()}/bench/peers/llama_decode.mjs`;
  const variants = TYPES.flatMap((type): readonly Variant[] => {
    const path = model(file(type));
    const ours = (args: string): string => `npm run -s bench:serve -- --model ${path} ${args} --json`;
    const theirs = (streams: number): string => `cd ${llama} && node ${script} ${path} ${streams} 64`;
    return [
      {
        name: `${type} ours 1`,
        command: ours("--streams 1 --adapters 0"),
      },
      { name: `${type} llama.cpp 1`, command: theirs(1) },
      {
        name: `${type} ours 16, 16 adapters`,
        command: ours("--streams 16 --adapters 16"),
      },
      { name: `${type} llama.cpp 16, none`, command: theirs(16) },
      {
        name: `${type} ours prompt`,
        command: ours("--first --adapters 0"),
      },
    ];
  });
  return { decode: variants };
}

/** Bytes of the matrices that every token reads: all but an embedding that is not the head. */
async function bytesRead(path: string): Promise<number> {
  await using gguf = await openGguf(path);
  const untied = gguf.tensors.has("output.weight");
  let bytes = 0;
  for (const [name, { type, shape }] of gguf.tensors) {
    const format = Object.entries(blockFormats).find(([known]) => known === type)?.[1];
    if (format === undefined || (untied && name === "token_embd.weight")) continue;
    bytes += (countElements(shape) / format.blockSize) * format.bytes;
  }
  return bytes;
}

/** A row's numbers of tokens a second: decoding, and prompt reading. */
function readSpeeds(
  name: string,
  measured: Measurements,
): readonly [Measured | undefined, number | undefined] {
  if (name.endsWith("prompt")) return [undefined, PROMPT / measured(name, "first_token_alone_s").median];
  if (name.includes("ours")) return [measured(name, "decode_tokens_per_s"), undefined];
  return [measured(name, "new_tokens_per_s"), measured(name, "prompt_tokens_per_s").median];
}

/** Decoded tokens a second, prompt tokens a second, and for one stream the bandwidth. */
export async function decodeTable(
  variants: readonly Variant[],
  measured: Measurements,
  { model }: Places,
): Promise<string> {
  const rows: string[] = [];
  for (const type of TYPES) {
    const gigabytes = (await bytesRead(model(file(type)))) / 1e9;
    for (const { name } of variants.filter((variant) => variant.name.startsWith(type))) {
      const [decode, prompt] = readSpeeds(name, measured);
      const single = name.endsWith(" 1") ? decode?.median : undefined;
      const cells = [
        decode === undefined ? "–" : `${decode.median} (${decode.least}–${decode.most})`,
        prompt === undefined ? "–" : rounded(prompt, 1),
        rounded(gigabytes, 3),
        single === undefined ? "–" : rounded(single * gigabytes, 1),
      ];
      rows.push(`| ${name} | ${cells.join(" | ")} |`);
    }
  }
  return [
    "| | decoded tokens/s | prompt tokens/s | GB a token, in the file | GB/s |",
    "|---|---|---|---|---|",
    ...rows,
  ].join("\n");
}
