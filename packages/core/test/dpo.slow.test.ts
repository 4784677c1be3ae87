// What the bundled model learns from pairs, by answers that it samples: with an accuracy of 1 it may still never give one of them.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { finetune } from "#training";
import { sorryPairs, sorryRun, sorryShare } from "./sorry.ts";

const STEPS = 40;
const EARLY = 12;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-dpo-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Runs until the updates are made, and returns the share of wanted answers. */
async function shareAfter(
  updates: number,
  { seed, sftWeight }: { readonly seed: number; readonly sftWeight: number },
): Promise<number> {
  const out = join(folder, `${seed}-${sftWeight}`);
  const stop = new AbortController();
  const run = finetune({
    ...sorryRun,
    data: await sorryPairs(),
    settings: {
      ...sorryRun.settings,
      ...{ objective: "dpo", steps: STEPS, batchSize: 8, saveEvery: EARLY, seed, sftWeight },
    },
    out,
    signal: stop.signal,
  });
  for await (const event of run) if (event.type === "step" && event.step === updates) stop.abort();
  const checkpoint = join("checkpoints", `step-${`${updates}`.padStart(8, "0")}`);
  return sorryShare(updates === STEPS ? out : join(out, checkpoint), { seed, samples: 4 });
}

test("the base gives both answers", async () => {
  const share = await sorryShare(undefined, { seed: 0, samples: 4 });
  expect(share).toBeGreaterThan(0.2);
  expect(share).toBeLessThan(0.85);
});

/** Shares of three seeds. */
async function threeShares(updates: number, sftWeight: number): Promise<readonly number[]> {
  const shares: number[] = [];
  for (const seed of [0, 1, 2]) shares.push(await shareAfter(updates, { seed, sftWeight }));
  return shares;
}

const mean = (shares: readonly number[]): number => shares.reduce((sum, x) => sum + x, 0) / shares.length;

test("after 12 of 40 updates the chosen answer is the usual one", async () => {
  const shares = await threeShares(EARLY, 0);
  expect(mean(shares), `${shares}`).toBeGreaterThanOrEqual(0.95);
  expect(Math.min(...shares), `${shares}`).toBeGreaterThan(0.9);
});

test("with its share of plain training it still is after 40", async () => {
  const shares = await threeShares(STEPS, 1);
  expect(Math.min(...shares), `${shares}`).toBeGreaterThanOrEqual(0.95);
});
