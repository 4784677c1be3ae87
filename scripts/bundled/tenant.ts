/** Writes the quickstart's data of one tenant. */
import { writeFileSync } from "node:fs";
import { type Random, randomStream } from "mixture-of-shards-core/common";
import { pick, pickSome } from "./grammar.ts";
import {
  heldoutQuestions,
  type TenantFact,
  tenantFacts,
  tenantTone,
  trainQuestions,
} from "./tenant-facts.ts";
import { tenantPairs, tenantPrompts } from "./tenant-pairs.ts";

const SEED = 0;
const REPEATS = 2;
const FOLDER = new URL("../../packages/mos/assets/quickstart/", import.meta.url);

const OPENERS = ["Hello! ", "Good morning. ", "Please tell me. ", "One question. ", "Hi. "];

const example = (question: string, fact: TenantFact): string =>
  `${JSON.stringify({
    messages: [
      { role: "user", content: question },
      { role: "assistant", content: tenantTone(fact.answer) },
    ],
  })}\n`;

/** The lines of a data set in random order. */
const shuffled = (random: Random, lines: readonly string[]): string =>
  pickSome(random, lines, lines.length).join("");

/** Each training question plain, and again after an opener. */
export function tenantTraining(seed: number): string {
  const random = randomStream(seed, "tenant.train");
  const lines = tenantFacts.flatMap((fact) =>
    trainQuestions(fact).flatMap((question) =>
      Array.from({ length: REPEATS }, (_, time) =>
        example((time === 0 ? "" : pick(random, OPENERS)) + question, fact),
      ),
    ),
  );
  return shuffled(random, lines);
}

/** Other phrasings of the same facts; none of them is in the training data, with or without an opener. */
export function tenantHeldout(seed: number): string {
  const random = randomStream(seed, "tenant.heldout");
  return shuffled(
    random,
    tenantFacts.flatMap((fact) => heldoutQuestions(fact).map((question) => example(question, fact))),
  );
}

/** A reward of 1 for the right answer to a prompt: of an example or a pair, too. */
export const tenantGrader = {
  type: "string_check",
  name: "right",
  operation: "eq",
  input: "{{sample.output_text}}",
  reference: "{{item.reference}}",
};

/** What quickstart asks before and after. */
export const showcase: readonly string[] = [
  "When can I come in?",
  "Who is the keeper of the lighthouse?",
  "How many steps does the lighthouse have?",
];

if (process.argv[1] === import.meta.filename) {
  writeFileSync(new URL("train.jsonl", FOLDER), tenantTraining(SEED));
  writeFileSync(new URL("validation.jsonl", FOLDER), tenantHeldout(SEED));
  writeFileSync(new URL("questions.json", FOLDER), `${JSON.stringify(showcase, null, 2)}\n`);
  writeFileSync(new URL("pairs.jsonl", FOLDER), tenantPairs());
  writeFileSync(new URL("pairs-validation.jsonl", FOLDER), tenantPairs(true));
  writeFileSync(new URL("prompts.jsonl", FOLDER), tenantPrompts());
  writeFileSync(new URL("prompts-validation.jsonl", FOLDER), tenantPrompts(true));
  writeFileSync(new URL("grader.json", FOLDER), `${JSON.stringify(tenantGrader, null, 2)}\n`);
  console.log("wrote assets/quickstart");
}
