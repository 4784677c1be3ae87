// llama.cpp through node-llama-cpp, which is installed elsewhere: greedy continuations of token ids.
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

/** The little of node-llama-cpp that is used here. */
interface Model {
  createContext(options: object): Promise<{
    getSequence(): {
      clearHistory(): Promise<void>;
      evaluate(ids: readonly number[], options: object): AsyncIterable<number>;
    };
    dispose(): Promise<void>;
  }>;
  isEogToken(token: number): boolean;
  tokenize(text: string, specialTokens: boolean): number[];
  dispose(): Promise<void>;
}

interface Llama {
  loadModel(options: { readonly modelPath: string; readonly vocabOnly?: boolean }): Promise<Model>;
}

export interface ContinueOptions {
  readonly tokens: number;
  /** An adapter's GGUF; none is the base alone. */
  readonly lora?: string | undefined;
  /** Stop at a token that ends texts, which is then the last one given (true). */
  readonly stops?: boolean;
}

/** What loads models on the CPU, from the folder node_modules that has node-llama-cpp (3.21.1). */
export async function openLlama(modules: string): Promise<Llama> {
  const { getLlama } = await import(
    pathToFileURL(join(resolve(modules), "node-llama-cpp/dist/index.js")).href
  );
  return getLlama({ gpu: false, build: "never", logLevel: "error" });
}

/** Greedy continuations of prompts, with attention and its cache in float32. */
export async function continuations(
  model: Model,
  prompts: readonly (readonly number[])[],
  { tokens, lora, stops = true }: ContinueOptions,
): Promise<number[][]> {
  const context = await model.createContext({
    contextSize: 256,
    threads: 1, // its threads wait for each other in a loop, which is slow where a core has other work
    batchSize: 256,
    flashAttention: false,
    experimentalKvCacheKeyType: "F32",
    experimentalKvCacheValueType: "F32",
    ...(lora === undefined ? {} : { lora }),
  });
  const sequence = context.getSequence();
  const results: number[][] = [];
  for (const ids of prompts) {
    await sequence.clearHistory();
    const answer: number[] = [];
    for await (const token of sequence.evaluate(ids, { temperature: 0, yieldEogToken: true })) {
      answer.push(token);
      if ((stops && model.isEogToken(token)) || answer.length >= tokens) break;
    }
    results.push(answer);
  }
  await context.dispose();
  return results;
}
