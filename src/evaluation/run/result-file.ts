import { z } from "zod";
import { MosError } from "#core";
import { expectNoFolder, pathExists, readJson, writeFileAtomic } from "#storage";
import type { EvaluationResult } from "./result.ts";

const resultSchema = z.looseObject({
  version: z.string(),
  tasks: z.array(z.unknown()),
  scores: z.array(z.unknown()),
});

/** Whoever names another file by mistake finds it as it was. Throws `bad_option`. */
export async function expectResult(out: string): Promise<void> {
  await expectNoFolder(out);
  if (!(await pathExists(out))) return;
  await readJson(out, resultSchema, { code: "bad_option" }).catch((cause: unknown) => {
    throw new MosError(
      "bad_option",
      `${out} is there and is no result of an evaluation; give another --out`,
      { cause },
    );
  });
}

export const writeResult = (result: EvaluationResult, out: string): Promise<void> =>
  writeFileAtomic(out, `${JSON.stringify(result, null, 2)}\n`);
