// Digest by which an adapter recognises the token ids that it was trained with.
import { createHash } from "#platform";
import type { Tokenizer } from "./tokenizer.ts";

const PROBES = [
  "x =  10\n  1. a\n 2)  b\n| a |   12 | 3.50 |\n",
  "  ½½ ²³ ١٢ 1234567 \r\n\t\t9",
  `a${" ".repeat(40)}b${"\n".repeat(40)}c${"\t".repeat(40)}d`,
  "▁▁ ▁a▁ b",
  "e\u0301 한국어 漢字 هذا हिन्दी 👩‍🚀 \u00a0\u3000\u200b\u0085x",
  "don't DON'T we'LL HelloWorld fooBAR/\n//",
  "<s></s><unk><|im_start|>user\n<end_of_turn>",
];

/** A digest of the ids of some texts on which tokenizers are known to differ: the same for a folder and a GGUF file. */
export function tokenDigest({ encode }: Pick<Tokenizer, "encode">): string {
  const ids = PROBES.map((text) => encode(text, { addSpecialTokens: false }));
  return `sha256:${createHash("sha256").update(JSON.stringify(ids)).digest("hex")}`;
}
