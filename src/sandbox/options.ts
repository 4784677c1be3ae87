import { z } from "zod";
import { MosError } from "#core";
import type { CheckerOptions } from "./types.ts";

const MIB = 2 ** 20;
/** Longer programs are refused: HumanEval's have some kilobytes. */
const LONGEST_PROGRAM = MIB;

const schema = z.object({
  workers: z.int().min(1).max(64).default(2),
  seconds: z.number().positive().max(3600).default(3),
  memory: z
    .int()
    .min(64 * MIB)
    .max(2048 * MIB)
    .default(512 * MIB),
  python: z.string().min(1).optional(),
});

export type Settings = z.output<typeof schema>;

/** @throws MosError `bad_option`. */
export function parseOptions({ signal: _, ...options }: CheckerOptions): Settings {
  const parsed = schema.safeParse(options);
  if (parsed.success) return parsed.data;
  throw new MosError("bad_option", `program checker: ${z.prettifyError(parsed.error)}`);
}

/** Why a text is no program at all, in Python's words; undefined if it may be one. */
export function unreadable(program: string): string | undefined {
  if (Buffer.byteLength(program) > LONGEST_PROGRAM) return `longer than ${LONGEST_PROGRAM} bytes`;
  // C would end the program there, before its tests
  if (program.includes("\0")) return "SyntaxError: source code string cannot contain null bytes";
  if (/\p{Surrogate}/u.test(program)) return "UnicodeEncodeError: surrogates not allowed";
  return undefined;
}
