import { z } from "zod";
import { readRows } from "./benchmark-file.ts";
import type { Count } from "./counts.ts";
import { digestOfRows } from "./digest.ts";

const row = z.object({
  question: z.string().min(1),
  answer: z.string().regex(/####\s*\S/, "a worked answer that ends in #### and the result"),
});

/** A problem with its worked answer, whose result follows `####`. */
export type Gsm8kRow = Readonly<z.output<typeof row>>;

export interface Gsm8kData {
  readonly test: readonly Gsm8kRow[];
  readonly counts: readonly Count[];
  readonly digest: string;
}

/** Reads `gsm8k/test.jsonl`. Throws `not_found`, `bad_data`, `storage`. */
export async function readGsm8k(folder: string): Promise<Gsm8kData> {
  const test = await readRows({ folder, parts: ["gsm8k", "test.jsonl"] }, row);
  return {
    test,
    counts: [{ what: "questions of GSM8K", found: test.length, expected: 1_319 }],
    digest: digestOfRows({ test }),
  };
}
