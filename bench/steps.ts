// What the steps of a run cost.
import { type FinetuneOptions, finetune } from "mixture-of-shards-core/training";
import { cpuSeconds, peakMemory, rounded } from "./arguments.ts";

/** Of all steps but the first, in which the program is compiled; what comes before them, such as a reference, is not counted either. */
export async function measureSteps(options: FinetuneOptions) {
  const ends: { readonly seconds: number; readonly cpu: number }[] = [];
  let [tokens, examples] = [0, 0];
  for await (const event of finetune(options)) {
    if (event.type !== "step") continue;
    if (ends.length > 0) {
      tokens += event.tokens;
      examples += event.examples;
    }
    ends.push({ seconds: performance.now() / 1000, cpu: cpuSeconds() });
  }
  const [first, last] = [ends[0], ends.at(-1)];
  const passed = (of: "seconds" | "cpu"): number => (last?.[of] ?? Number.NaN) - (first?.[of] ?? 0);
  return {
    tokens_per_s: rounded(tokens / passed("seconds"), 1),
    tokens_per_cpu_s: rounded(tokens / passed("cpu"), 1),
    examples_per_cpu_s: rounded(examples / passed("cpu"), 4),
    peak_rss_gb: peakMemory(),
  };
}
