import { type Random, randomStream } from "#core";
import { businessProse } from "./business.ts";
import { chat, type Message } from "./chats.ts";
import { description } from "./knowledge.ts";
import { story } from "./stories.ts";

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
