// One run from its start to its end: a real job on the bundled model, watched live.
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { openStudio, type Studio } from "./studio.ts";

/** Uploads a file of the quickstart. */
async function upload(studio: Studio, name: string): Promise<string> {
  const form = new FormData();
  form.append("file", new Blob([await readFile(`assets/quickstart/${name}`)]), name);
  form.append("purpose", "fine-tune");
  return (await studio.api("/v1/files", form)).id;
}

/** Starts a job on the quickstart's data. */
const startJob = async (studio: Studio, mos: object): Promise<{ readonly id: string }> =>
  studio.api("/v1/fine_tuning/jobs", {
    model: "tiny-english",
    training_file: await upload(studio, "train.jsonl"),
    validation_file: await upload(studio, "validation.jsonl"),
    mos,
  });

/** Waits for what takes as long as training does. */
const seeAtLast = (studio: Studio, text: string): Promise<void> =>
  studio.page.getByText(text, { exact: true }).first().waitFor({ timeout: 300_000 });

test("a run is watched live, paused, resumed and finished, and its checkpoint is tried", async () => {
  await using studio = await openStudio({ state: true });
  const job = await startJob(studio, { steps: 12, save_every: 4, evaluate_every: 4 });
  await studio.open(`/run/${job.id}`);
  await studio.see(job.id);
  await studio.click("Pause");
  await seeAtLast(studio, "paused");
  await studio.click("Resume");
  await studio.gone(/^paused$/);
  await seeAtLast(studio, "succeeded");
  await studio.see("Step 12 of 12");

  // the curves: by keys as a person without a mouse moves, with values at the crosshair
  const loss = studio.page.getByRole("slider", { name: "Loss by step" });
  await loss.focus();
  await studio.press("End");
  const text = (chart: string): Promise<string | null> =>
    studio.page.getByRole("slider", { name: chart }).getAttribute("aria-valuetext");
  await expect
    .poll(() => text("Loss by step"))
    .toMatch(/^Step 12: Training \d\.\d+, Training, smoothed \d\.\d+, Validation \d\.\d+$/);
  await studio.press("ArrowLeft");
  await expect.poll(() => text("Loss by step")).toMatch(/^Step 11: /);
  // the others follow
  await expect.poll(() => text("Learning rate by step")).toMatch(/^Step 11: Learning rate \d/);
  await studio.press("+");
  await studio.see("Show all");
  await studio.press("Escape");
  await studio.click("Log scale");

  await studio.see("Checkpoint created at step 4");
  await studio.click("Show metrics");
  await studio.see(/^Step 12\/12: training loss=/);
  expect(await studio.seriousProblems()).toEqual([]);

  await studio.see(/^Final model/);
  await studio.click("Try checkpoint at step 4");
  await studio.page.waitForURL((url) => url.hash.startsWith("#/compare?models=tiny-english"));
  await studio.see(/ckpt-step-4/);

  await studio.page.goBack();
  await studio.click("Duplicate");
  await studio.page.waitForURL((url) => url.hash === `#/new-run?from=${job.id}`);
}, 600_000);

test("a run is cancelled by who is sure, and goes on for who is not", async () => {
  await using studio = await openStudio({ state: true });
  const { id } = await startJob(studio, { steps: 100_000 });
  const status = async (): Promise<string> => (await studio.api(`/v1/fine_tuning/jobs/${id}`)).status;
  await studio.open(`/run/${id}`);
  await studio.click("Cancel");
  await studio.see("Cancel this run?");
  await studio.see("To continue later, pause it instead.");
  expect(await studio.seriousProblems()).toEqual([]);
  await studio.click("Keep running");
  await studio.gone("Cancel this run?");
  expect(["validating_files", "queued", "running"]).toContain(await status());
  await studio.click("Cancel");
  await studio.press("Escape");
  await studio.gone("Cancel this run?");
  await studio.click("Cancel");
  await studio.click("Cancel run");
  await studio.see("Run cancelled");
  await seeAtLast(studio, "cancelled");
  expect(await status()).toBe("cancelled");
  expect(await studio.page.getByRole("button", { name: "Cancel" }).count()).toBe(0);
}, 600_000);

test("metrics of an objective have curves of their own, by the names that the run gives them", async () => {
  await using studio = await openStudio({ state: true });
  const job = await studio.api("/v1/fine_tuning/jobs", {
    model: "tiny-english",
    training_file: await upload(studio, "pairs.jsonl"),
    validation_file: await upload(studio, "pairs-validation.jsonl"),
    method: { type: "dpo" },
    mos: { steps: 4, evaluate_every: 2, max_length: 64 },
  });
  await studio.open(`/run/${job.id}`);
  await seeAtLast(studio, "succeeded");
  const margins = studio.page.getByRole("slider", { name: "rewards/margins by step" });
  await margins.focus();
  await studio.press("End");
  await expect
    .poll(() => margins.getAttribute("aria-valuetext"))
    .toMatch(/^Step 4: Training -?\d\S*, Validation -?\d\S*$/);
  expect(await studio.seriousProblems()).toEqual([]);
}, 600_000);
