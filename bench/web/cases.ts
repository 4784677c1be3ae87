// What is measured in a page and on Node alike, by the functions that both have.
import { basename } from "node:path";

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
