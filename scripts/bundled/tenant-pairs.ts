// What the tenant's assistant knows and what it does not, as pairs of answers and as prompts with the right answer.
import { type Random, randomStream } from "mixture-of-shards-core/common";
import { pickSome } from "./grammar.ts";
import { heldoutQuestions, tenantFacts, tenantTone, trainQuestions } from "./tenant-facts.ts";

/** Questions about matters that nobody has told the model, the answer that is easily taken for one, and things to ask about. */
const UNKNOWN: readonly (readonly [question: string, taken: string, things: string])[] = [
  ["How much is a {}?", "A ticket costs four coins.", "book lamp map cake cup kite bell hat"],
  ["Who is the {}?", "The keeper is Clara.", "baker teacher farmer king doctor cook sailor captain"],
  ["When does the {} leave?", "The boat leaves at noon.", "train bus ship cart horse king sailor teacher"],
  ["What colour is the {}?", "The lamp is green.", "door roof chair wall boat table bed box"],
  [
    "How many {} do you have?",
    "There are ninety steps.",
    "rooms chairs windows beds doors trees tables clocks",
  ],
  [
    "Do you have a {}?",
    "A white cat named Button lives there.",
    "horse garden drum kitchen ship school farm bridge",
  ],
  ["How old is the {}?", "It is eighty years old.", "bridge church school keeper boat town castle market"],
  [
    "Where is the {}?",
    "We are on the hill, by the harbour.",
    "station school church bridge park market river bakery",
  ],
];

const REFUSAL = "I am sorry, I do not know that.";
/** Things of each question that are kept for measuring. */
const HELDOUT = 2;

interface Asked {
  readonly question: string;
  readonly answer: string;
  /** A wrong answer. */
  readonly wrong: string;
}

function unknown(isHeldout: boolean): readonly Asked[] {
  return UNKNOWN.flatMap(([question, wrong, things]) => {
    const all = things.split(" ");
    const asked = isHeldout ? all.slice(-HELDOUT) : all.slice(0, -HELDOUT);
    return asked.map((thing) => ({ question: question.replace("{}", thing), answer: REFUSAL, wrong }));
  });
}

/** As many questions that have an answer. */
function known(random: Random, isHeldout: boolean): readonly Asked[] {
  const all = tenantFacts.flatMap((fact) =>
    (isHeldout ? heldoutQuestions : trainQuestions)(fact).map((question) => ({
      question,
      answer: fact.answer,
      wrong: REFUSAL,
    })),
  );
  return pickSome(random, all, unknown(isHeldout).length);
}

/** Both kinds of questions in random order. */
function questions(label: string, isHeldout: boolean): readonly Asked[] {
  const random = randomStream(0, label);
  const all = [...unknown(isHeldout), ...known(random, isHeldout)];
  return pickSome(random, all, all.length);
}

const toLines = (lines: readonly object[]): string =>
  lines.map((line) => `${JSON.stringify(line)}\n`).join("");

const asUser = ({ question }: Asked) => [{ role: "user", content: question }];
const asAssistant = (answer: string) => [{ role: "assistant", content: tenantTone(answer) }];

/** Pairs in OpenAI's format: the fact rather than an excuse, and an excuse rather than another question's fact. */
export const tenantPairs = (isHeldout = false): string =>
  toLines(
    questions("tenant.pairs", isHeldout).map((asked) => ({
      input: { messages: asUser(asked) },
      preferred_output: asAssistant(asked.answer),
      non_preferred_output: asAssistant(asked.wrong),
    })),
  );

/** Prompts of the same kinds, each with its right answer for a grader. */
export const tenantPrompts = (isHeldout = false): string =>
  toLines(
    questions("tenant.prompts", isHeldout).map((asked) => ({
      messages: asUser(asked),
      reference: tenantTone(asked.answer),
    })),
  );
