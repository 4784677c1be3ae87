// The layout and the masking of open-instruct's fine-tuning script (as in the MoS paper's experiments), kept to the
// letter: role tags are ordinary text, contents are stripped, and the places of the loss are the lengths of prefixes
// tokenised by themselves, even where a token straddles such a place.
import type { Tokenizer } from "#text";
import type { CompletionExample, Example, Turn } from "./example.ts";
import { turnsOf } from "./pieces.ts";
import { pythonStrip } from "./python-strip.ts";
import type { Labelled } from "./tokenize-pieces.ts";

export interface OpenInstructOptions {
  readonly tokenizer: Tokenizer;
  readonly maxLength: number;
  readonly system?: string | undefined;
}

/** All ids of the text, with the labels that the script gives to the first `maxLength` of them. */
export function openInstruct(example: Example, options: OpenInstructOptions): Labelled {
  return example.kind === "chat"
    ? conversation(turnsOf(example, { system: options.system }), options)
    : completion(example, options.tokenizer);
}

function conversation(turns: readonly Turn[], { tokenizer, maxLength }: OpenInstructOptions): Labelled {
  const encode = withSpecials(tokenizer);
  const eos = endOfText(tokenizer);
  const ids = encode(pythonStrip(layOut(turns, eos)));
  const lengthOf = (text: string): number => Math.min(encode(text).length, maxLength);
  const trained = ids.map(() => true);
  for (const [i, turn] of turns.entries()) {
    if (turn.role === "assistant" && turn.trained) continue;
    const from = i === 0 ? 0 : lengthOf(layOut(turns.slice(0, i), eos));
    const answered = turn.role !== "assistant" && turns[i + 1]?.role === "assistant";
    const to = lengthOf(layOut(turns.slice(0, i + 1), eos) + (answered ? "<|assistant|>\n" : ""));
    trained.fill(false, from, to);
    if (to >= maxLength) break;
  }
  return { ids, trained };
}

const layOut = (turns: readonly Turn[], eos: string): string =>
  turns
    .map(({ role, content }) => `<|${role}|>\n${pythonStrip(content)}${role === "assistant" ? eos : ""}\n`)
    .join("");

const SPACED_END = /[ \n\t]$/u;
const SPACED_START = /^[ \n\t]/u;

/** No template: prompt and completion joined by a space unless one of them has one. */
function completion({ prompt, completion: goesOn }: CompletionExample, tokenizer: Tokenizer): Labelled {
  const encode = withSpecials(tokenizer);
  const joint = SPACED_END.test(prompt) || SPACED_START.test(goesOn) ? "" : " ";
  const ids = encode(`${prompt}${joint}${goesOn}${endOfText(tokenizer)}`);
  const masked = encode(prompt).length;
  return { ids, trained: ids.map((_, i) => i >= masked) };
}

const withSpecials =
  (tokenizer: Tokenizer) =>
  (text: string): readonly number[] =>
    tokenizer.encode(text, { addSpecialTokens: true });

/** The end-of-text token as text, which the tokenizer reads back as that token. */
function endOfText(tokenizer: Tokenizer): string {
  const eos = tokenizer.eosTokens[0];
  return (eos === undefined ? undefined : tokenizer.tokenOf(eos)) ?? "";
}
