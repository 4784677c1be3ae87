import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { findOtherKind } from "./check-lines.ts";

test("what a file holds is told where a run does not learn from it", async () => {
  const folder = await mkdtemp(join(tmpdir(), "mos-kinds-"));
  const path = join(folder, "data.jsonl");
  const pair = { prompt: "a", chosen: "b", rejected: "c" };
  const cases = [
    [pair, "examples", "pairs"],
    [pair, "pairs", undefined],
    [pair, "rated", undefined], // a pair is two rated answers
    [pair, "prompts", undefined], // both answers may serve a grader
    [{ prompt: "a", completion: "b" }, "examples", undefined],
    [{ prompt: "a", completion: "b" }, "pairs", "examples"],
    [{ prompt: "a", completion: "b" }, "prompts", undefined],
    [{ prompt: "a", completion: "b", label: true }, "examples", "rated"],
    [{ prompt: "a" }, "examples", "prompts"],
    // other problems are left to the run
    [{ question: 1 }, "examples", undefined],
    [[], "examples", undefined],
  ] as const;
  try {
    for (const [line, wanted, found] of cases) {
      await writeFile(path, `${JSON.stringify(line)}\n`);
      expect(await findOtherKind(path, wanted), `${JSON.stringify(line)} for ${wanted}`).toBe(found);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});
