// What is measured in a page and on Node alike, by the functions that both have.
import { basename } from "node:path";
import { rounded } from "../arguments.ts";

/** Work of one kind on one model. */
export interface Case {
  readonly name: string;
  /** The model's folder, or its .gguf file. */
  readonly model: string;
  readonly work: { readonly rows: number; readonly length: number } | "decode";
  /** Updates, or tokens, that are counted. */
  readonly count: number;
  readonly threads: number;
}

/** The end of an update or a token, in seconds. */
export interface Mark {
  /** CPU time of the process so far. */
  readonly cpu: number;
  readonly wall: number;
}

/** Milliseconds of an update or a token, after the first quarter of them: by then a browser has compiled what is hot. */
export function costOfEach(marks: readonly Mark[]) {
  const counted = marks.slice(Math.floor(marks.length / 4));
  const each = (of: keyof Mark): number =>
    rounded(
      (1000 * ((counted.at(-1)?.[of] ?? Number.NaN) - (counted[0]?.[of] ?? Number.NaN))) /
        (counted.length - 1),
      2,
    );
  return { cpuMs: each("cpu"), wallMs: each("wall") };
}

/** Characters of all examples: each fills its row, so that all updates have one shape. */
const TEXT = "The keeper of the lighthouse wrote down what the sea had brought. ".repeat(40);

/** Options of `finetune`, but for model, data, name and threads: the first update compiles the program, and is not counted. */
export const trainingOf = (
  { rows, length }: { readonly rows: number; readonly length: number },
  count: number,
) => ({
  adapter: { method: "mos", rank: 6, equivalentRank: 2 } as const,
  settings: {
    steps: count + 1,
    batchSize: rows,
    maxLength: length,
    validationSplit: 0,
    saveEvery: 0,
    evaluateEvery: 0,
    // as in a page, which has no int8 products
    computeDtype: "float32",
  } as const,
  data: Array.from({ length: rows * (count + 1) }, (_, i) => ({ text: `${i} ${TEXT}` })),
});

/** Options of `generate`: the first token comes with the prompt, and is not counted. */
export const answerOf = (count: number) => ({
  maxTokens: count + 1,
  ignoreEos: true,
  sampling: { temperature: 0 },
});

export const PROMPT = "Once upon a time";

/** The address of a model's folder or file on the server of pages. */
export const addressOf = (model: string): string =>
  model.endsWith(".gguf") ? `/models/${basename(model)}` : `/assets/${basename(model)}/`;
