// What each method does, in a sentence. The schema of the server says which there are.

const SENTENCES: Readonly<Record<string, string>> = {
  mos: "Mixture of Shards: layers assemble their factors from shared and private shards, for LoRA's quality at a fraction of its size.",
  lora: "Every layer has its own pair of low-rank factors: the reference, and the largest.",
  "pure-sharing": "All layers share one pair of large factors.",
  "random-scaling": "Like pure sharing, with fixed random scales that tell layers apart.",
  "subset-selection": "Each layer picks its own vectors from the shared pools.",
  vera: "Fixed random factors for all layers, of which only scaling vectors are trained.",
  "tied-lora": "One trained pair of factors for all layers, with scaling vectors of their own.",
  prolora: "Factors made of one chunk that is repeated and rotated, with a few ranks unshared.",
};

/** A method, and what it does. */
export interface MethodChoice {
  readonly name: string;
  readonly sentence: string;
}

/** The methods of the server, Mixture of Shards first. */
export const listMethods = (names: readonly string[]): readonly MethodChoice[] =>
  [...names]
    .sort((a, b) => Number(b === "mos") - Number(a === "mos"))
    .map((name) => ({ name, sentence: SENTENCES[name] ?? "" }));
