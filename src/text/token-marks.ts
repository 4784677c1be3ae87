// By what an adapter knows the tokens that it was trained with.
import { createHash } from "node:crypto";
import type { Tokenizer } from "./tokenizer.ts";

/** How a tokenizer turns text into ids, as far as adapters compare it. */
export interface TokenMarks {
  /** A digest of the ids of some texts, on which rules are known to differ: the same for a folder and a GGUF file. */
  readonly digest: string;
  /** Whether earlier versions of this package gave other ids: an adapter without a digest may be trained with those. */
  readonly hadOtherIds: boolean;
}

const PROBES = [
  "x =  10\n  1. a\n 2)  b\n| a |   12 | 3.50 |\n",
  "  ½½ ²³ ١٢ 1234567 \r\n\t\t9",
  `a${" ".repeat(40)}b${"\n".repeat(40)}c${"\t".repeat(40)}d`,
  "▁▁ ▁a▁ b",
  "e\u0301 한국어 漢字 هذا हिन्दी 👩‍🚀 \u00a0\u3000\u200b\u0085x",
  "don't DON'T we'LL HelloWorld fooBAR/\n//",
  "<s></s><unk><|im_start|>user\n<end_of_turn>",
];

export function tokenMarks({ encode, hadOtherIds = false }: Tokenizer): TokenMarks {
  const ids = PROBES.map((text) => encode(text, { addSpecialTokens: false }));
  const digest = createHash("sha256").update(JSON.stringify(ids)).digest("hex");
  return { digest: `sha256:${digest}`, hadOtherIds };
}
