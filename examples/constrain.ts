// Random tokens that are valid JSON all the same: a grammar decides which are allowed.
// usage: npx tsx examples/constrain.ts
import { CompiledGrammar, GrammarCompiler, Vocabulary } from "mixture-of-shards-grammar";

const schema = {
  type: "object",
  properties: { city: { enum: ["Paris", "Rome"] }, days: { type: "integer", minimum: 1, maximum: 14 } },
  required: ["city", "days"],
  additionalProperties: false,
};

/** A model's tokens are longer; these are the 256 bytes, and one that ends the answer. */
const END = 256;
const bytesOf = (token: number): Uint8Array => (token === END ? Buffer.of() : Buffer.of(token));
const vocabulary = await Vocabulary.build({
  size: 257,
  bytesOf,
  specialName: () => undefined,
  endTokens: [END],
});

/** A model would choose the likeliest of the allowed tokens. */
function choose(words: Uint32Array): number {
  const allowed = Array.from({ length: vocabulary.size }, (_, token) => token).filter(
    (token) => (((words[token >> 5] ?? 0) >> (token & 31)) & 1) === 1,
  );
  return allowed[Math.floor(Math.random() * allowed.length)] ?? END;
}

const answer: Uint8Array[] = [];
const compiler = new GrammarCompiler();
const { grammar } = await compiler.compile({ type: "json_schema", schema });
const matcher = new CompiledGrammar(grammar, vocabulary).matcher();
while (!matcher.mustEnd) {
  const token = choose(matcher.mask().words);
  if (token === END) break;
  matcher.accept(token);
  answer.push(bytesOf(token));
}

const value = JSON.parse(Buffer.concat(answer).toString());
console.log(`${value.city}, ${value.days} days`);
