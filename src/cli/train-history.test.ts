import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { heldOutText, readHistory } from "./train-history.ts";

test("held-out loss: before, after, and the best where it lies between", () => {
  expect(heldOutText([])).toBeUndefined();
  expect(heldOutText([{ step: 9, loss: 0 }])).toBe("0.000 (perplexity 1.00)");
  const before = { step: 0, loss: 1 };
  const after = { step: 20, loss: 0.5 };
  expect(heldOutText([before, after])).toBe("1.000 (perplexity 2.72) → 0.500 (perplexity 1.65)");
  expect(heldOutText([before, { step: 10, loss: 0.25 }, after])).toContain("best 0.250 at step 10");
});

test("reads the metrics of a run and skips what it does not know", async () => {
  const folder = await mkdtemp(join(tmpdir(), "mos-history-"));
  try {
    expect(await readHistory(folder)).toEqual({ steps: [], heldOut: [] });
    const lines = [
      { type: "evaluation", step: 0, loss: 3 },
      { type: "step", step: 1, loss: 2 },
      { type: "else" },
      [1],
      null,
    ];
    await writeFile(join(folder, "metrics.jsonl"), lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
    const { steps, heldOut } = await readHistory(folder);
    expect(steps).toMatchObject([{ step: 1, loss: 2 }]);
    expect(heldOut).toMatchObject([{ step: 0, loss: 3 }]);
  } finally {
    await rm(folder, { recursive: true });
  }
});
