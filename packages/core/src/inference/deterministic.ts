// Answers that depend on their requests alone: on no other request beside them, no prefix in the cache, no preemption, no draft. All
// steps are the general program's, whose logits of a slot are the same to the bit whatever other slots a step has. What is left is
// which tokens a step computes: prompts in parts that end at the same places, and each token of an answer by itself, again after a
// preemption.

import { equalBytes, MosError } from "#common";
import { unevenFactors, viewBytes } from "./drafts.ts";
import type { ModelRunner } from "./model-runner.ts";
import type { Sequence } from "./sequence.ts";
import { capacityFor } from "./slots.ts";

/** How steps are computed so that an answer depends on its request alone. */
export interface Deterministic {
  /** Parts of prompts end at multiples of so many tokens, and with the prompt. Prefixes are shared up to one of the former. */
  readonly part: number;
  /** The rank of all slots: with another one, products round otherwise. */
  readonly rank: number;
  /** Kernels of several rows compute a lone token, too, since those of one row round otherwise. */
  readonly isPadded: boolean;
}

/** Whole parts of the first `length` tokens. */
export const wholeParts = (length: number, { part }: Pick<Deterministic, "part">): number =>
  length - (length % part);

/** Tokens that the next step may compute of a sequence: a part of its prompt, or one of its answer. */
export const nextPart = (
  { request: { prompt } }: Pick<Sequence, "request">,
  computed: number,
  options: Pick<Deterministic, "part">,
): number =>
  computed < prompt.length
    ? Math.min(prompt.length, wholeParts(computed, options) + options.part) - computed
    : 1;

/** Slots that steps are compared with; kernels work on rows two by two, or four by four, and on those that are left. */
const MOST_SLOTS = 5;
const PROMPT = 6;
const RANK = 16;

/**
 * Finds out whether lone tokens are to be padded so that a slot's logits are the same beside others. Empties the slots. Throws
 * `device` where neither gives the same.
 */
export async function planPadding(
  { config, cache, slots, run }: ModelRunner,
  { adapters, maxBatch }: { readonly adapters: boolean; readonly maxBatch: number },
): Promise<boolean> {
  const most = Math.min(MOST_SLOTS, maxBatch);
  const prompts = Array.from({ length: most }, (_, slot) =>
    Array.from({ length: PROMPT + slot }, (_, i) => (7 * slot + i) % config.vocabularySize),
  );
  const logitsBeside = async (count: number, isPadded: boolean): Promise<Float32Array | undefined> => {
    for (const [slot, { length }] of prompts.entries()) cache.truncate(slot, length);
    const tokens = prompts.slice(0, count).map(([first = 0]) => [first]);
    const [[logits] = []] = await run({ from: 0, count, tokens, isPadded });
    return logits?.slice();
  };
  const isSame = async (isPadded: boolean): Promise<boolean> => {
    const alone = await logitsBeside(1, isPadded);
    for (let count = 2; count <= most; count++) {
      const beside = await logitsBeside(count, isPadded);
      if (alone === undefined || beside === undefined || !equalBytes(viewBytes(alone), viewBytes(beside)))
        return false;
    }
    return true;
  };
  try {
    cache.resize(most, capacityFor(PROMPT + most + 2));
    if (adapters) {
      slots.resize(most, RANK);
      for (let slot = 0; slot < most; slot++) slots.fill(slot, unevenFactors(config, slot));
    }
    for (const [from, prompt] of prompts.entries()) await run({ from, count: 1, tokens: [prompt] });
    if (await isSame(false)) return false;
    if (await isSame(true)) return true;
  } finally {
    cache.resize(0, 0);
    slots.resize(0, 0);
  }
  throw new MosError(
    "device",
    "the kernels of this processor round a request otherwise beside others: answers cannot be deterministic; leave out --deterministic",
  );
}
