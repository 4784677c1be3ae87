import { type Random, randomStream } from "mixture-of-shards-core/common";
import { businessProse } from "./business.ts";
import { chat, type Message } from "./chats.ts";
import { description } from "./knowledge.ts";
import { story } from "./stories.ts";

/** Turns text into token ids; special tokens in the text become their ids. */
export type Encode = (text: string) => readonly number[];

/** ChatML, as the chat template of the model renders it; checked against the template by a test. */
export const renderChat = (messages: readonly Message[]): string =>
  messages.map(({ role, content }) => `<|im_start|>${role}\n${content}<|im_end|>\n`).join("");

/** The text that the model learns from: a chat or prose, ended by `<|endoftext|>`. */
export const renderDocument = (document: Document): string =>
  `${document.kind === "chat" ? renderChat(document.messages) : document.text}<|endoftext|>`;

export interface PretrainingOptions {
  readonly seed: number;
  /** Total length of the documents; the last one may go beyond it. */
  readonly tokens: number;
  readonly encode: Encode;
  /** `heldout` is an unrelated stream of the same kind of text. Default `train`. */
  readonly stream?: "train" | "heldout";
}

/** Token ids of the documents to pretrain on, until `tokens` of them were given. */
export function* pretrainingDocuments(options: PretrainingOptions): Generator<readonly number[], void> {
  const { seed, tokens, encode, stream = "train" } = options;
  let given = 0;
  for (const document of corpus(seed, stream)) {
    if (given >= tokens) return;
    const ids = encode(renderDocument(document));
    given += ids.length;
    yield ids;
  }
}

/**
 * Joins documents end to end and cuts them into rows of `length` ids; what is left at the end is dropped. A document
 * may go on in the next row.
 */
export function* packRows(
  documents: Iterable<readonly number[]>,
  length: number,
): Generator<Int32Array, void> {
  let row = new Int32Array(length);
  let filled = 0;
  for (const document of documents)
    for (const id of document) {
      row[filled++] = id;
      if (filled < length) continue;
      yield row;
      row = new Int32Array(length);
      filled = 0;
    }
}

/** A piece of the corpus: plain prose, or a chat. */
export type Document =
  | { readonly kind: "prose"; readonly text: string }
  | { readonly kind: "chat"; readonly messages: readonly Message[] };

function draw(random: Random): Document {
  const kind = random.below(20);
  if (kind < 13) return { kind: "chat", messages: chat(random) };
  if (kind < 18) return { kind: "prose", text: story(random) };
  if (kind < 19) return { kind: "prose", text: description(random) };
  return { kind: "prose", text: businessProse(random) };
}

/**
 * Simple English without end: short stories, descriptions and chats. The same seed and label give the same
 * documents; another label gives an unrelated stream, for validation text.
 */
export function* corpus(seed: number, label = "train"): Generator<Document, never> {
  const random = randomStream(seed, `corpus.${label}`);
  while (true) yield draw(random);
}
