// Facts that only training can teach: how many of them an adapter has kept, asked in the words in which they were trained and in others.
// `npm run facts` makes them.

import { pythonStrip } from "mixture-of-shards-core/text";
import { z } from "zod";
import {
  GREEDY,
  type QuestionOptions,
  type QuestionSet,
  type TextBenchmark,
  type Verdict,
} from "../benchmark.ts";
import { digestRows, readRows } from "../data.ts";
import { chooseShots, type Draft, finishQuestions } from "../questions.ts";
import { summarizeGroups, summarizeScores } from "../scoring.ts";

export const facts: TextBenchmark<"facts"> = {
  name: "facts",
  metric: { "open-instruct": "exact_match", "lm-eval": "exact_match" },
  scale: 1,
  source: {
    instructions:
      "its data are made, not fetched: npm run facts -- --count 1000 --out facts-1000; then --data facts-1000",
  },
  read: readFacts,
  questions: makeQuestions,
  scorers: { "open-instruct": scoreValue, "lm-eval": scoreValue },
  summarise: (scored) => ({ overall: summarizeScores(scored), groups: summarizeGroups(scored) }),
};

/** Groups of the questions, by their words. */
export const FACT_GROUPS = { trained: "trained wording", reworded: "second wording" } as const;

const text = z.string().min(1);
const row = z.object({ question: text, reworded: text, answer: text });

/** Reads `facts/facts.jsonl`. Throws `not_found`, `bad_data`, `storage`. */
async function readFacts(folder: string) {
  const rows = await readRows({ folder, parts: ["facts", "facts.jsonl"] }, row);
  return { rows, counts: [], digest: digestRows({ facts: rows }) };
}

async function makeQuestions(folder: string, options: QuestionOptions): Promise<QuestionSet> {
  const shots = chooseShots(options, {
    benchmark: "facts",
    default: 0,
    min: 0,
    max: 0,
    reason: "no fact tells another",
  });
  const data = await readFacts(folder);
  const drafts = data.rows.flatMap(({ question, reworded, answer }, index): readonly Draft[] => {
    const draft = (kind: keyof typeof FACT_GROUPS, content: string): Draft => ({
      id: `facts/${kind}/${index}`,
      group: FACT_GROUPS[kind],
      references: [answer],
      prompt: () => ({ messages: [{ role: "user", content }], leadIn: "", plain: content }),
    });
    return [draft("trained", question), draft("reworded", reworded)];
  });
  const output = { ...GREEDY, maxTokens: MAX_TOKENS, stop: ["\n"] };
  return finishQuestions({ benchmark: "facts", data, drafts, output, shots }, options);
}

/** More than a value has. */
const MAX_TOKENS = 32;

function scoreValue(prediction: string, references: readonly string[]): Verdict {
  const extracted = pythonStrip(prediction);
  return {
    extracted,
    scores: { exact_match: Number(references.some((one) => pythonStrip(one) === extracted)) },
  };
}
