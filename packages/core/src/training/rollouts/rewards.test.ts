// What grades the answers of a run: opened by the run, or given to it.
import { expect, test } from "vitest";
import { parseGrader } from "#graders";
import { planRewards } from "./rewards.ts";

const prompt = { line: 1, ids: [1], item: {} };
const sample = { text: "a", tokens: [2], logprobs: Float32Array.of(0), hasEnded: true };

test("a sandbox that a run was given outlives it, and its programs end with the run", async () => {
  const signals: (AbortSignal | undefined)[] = [];
  const pythonGraders = {
    run: async (_source: string, _input: object, signal: AbortSignal | undefined) => {
      signals.push(signal);
      return { reward: 0.5 };
    },
  };
  const grader = parseGrader({ type: "python", source: "def grade(sample, item):\n    return 0.5" });
  const plan = planRewards(grader, { pythonGraders });
  for (let slice = 0; slice < 2; slice++) {
    const grader = plan.open({ tokenizer: {} as never, signal: undefined });
    expect(await grader.grade(prompt, sample)).toMatchObject({ reward: 0.5 });
    expect(signals.at(-1)?.aborted).toBe(false);
    await grader[Symbol.asyncDispose]();
    expect(signals.at(-1)?.aborted).toBe(true);
  }
});
