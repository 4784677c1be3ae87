// Decodes greedily with llama.cpp, several sequences in one batch without adapters. Prints one JSON line: tokens a second
// of all sequences, from the last one's first token on, and of a prompt of 500 tokens before. To be called in a folder with node-llama-cpp (npm install
// node-llama-cpp@3.21.1), by its whole path.
// usage: node …/bench/peers/llama_decode.mjs FILE.gguf [STREAMS (1)] [NEW TOKENS (128)] [THREADS (2)]
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [modelPath, streams = "1", tokens = "128", threads = "2"] = process.argv.slice(2);
if (modelPath === undefined) {
  console.error("usage: llama_decode.mjs FILE.gguf [STREAMS] [NEW TOKENS] [THREADS]");
  process.exit(2);
}
const installed = createRequire(join(process.cwd(), "package.json")).resolve("node-llama-cpp");
const { getLlama } = await import(pathToFileURL(installed).href);

const llama = await getLlama({ gpu: false, build: "never", logLevel: "error" });
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({
  ...{ contextSize: 640, batchSize: 512 },
  ...{ sequences: Number(streams), threads: Number(threads) },
});

/** Seconds in which a prompt of 500 random tokens is read, the least of three. */
async function readPrompt() {
  const sequence = context.getSequence();
  const seconds = [];
  for (let round = 0; round < 3; round++) {
    const tokens = Array.from({ length: 500 }, (_, i) => 3 + ((i * 7919 + round * 104729) % 1000));
    const started = performance.now();
    await sequence.evaluateWithoutGeneratingNewTokens(tokens);
    seconds.push((performance.now() - started) / 1000);
    await sequence.clearHistory();
  }
  sequence.dispose();
  return Math.min(...seconds);
}

/** Times of a sequence's tokens. */
async function decode(number) {
  const prompt = `<|im_start|>user\nTell the story of lighthouse ${number}, as long as you can.<|im_end|>\n<|im_start|>assistant\n`;
  const times = [];
  const options = { temperature: 0, yieldEogToken: true };
  for await (const _ of context.getSequence().evaluate(model.tokenize(prompt, true), options)) {
    times.push(performance.now());
    if (times.length >= Number(tokens)) break;
  }
  return times;
}

const prompt = await readPrompt();
const all = await Promise.all(Array.from({ length: Number(streams) }, (_, number) => decode(number)));
const first = Math.max(...all.map(([time]) => time));
const later = all.flat().filter((time) => time > first);
const seconds = (Math.max(...later) - first) / 1000;
console.log(
  JSON.stringify({
    ...{ peer: "node-llama-cpp", streams: Number(streams) },
    new_tokens_per_s: Number((later.length / seconds).toFixed(1)),
    prompt_tokens_per_s: Number((500 / prompt).toFixed(1)),
  }),
);
process.exit(0); // the library would keep the process for a while
