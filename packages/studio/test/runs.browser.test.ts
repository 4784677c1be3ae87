// The runs of a server, of run folders and jobs together, as a person sees them.
import { appendFile, mkdir, mkdtemp, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { lockFolder } from "mixture-of-shards-core/files";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type StudioServer, startServer } from "./server.ts";
import { openStudio } from "./studio.ts";

const SCRIPT = "<img src=x onerror=document.title='owned'>";

const stepLine = (step: number, loss: number): string =>
  `${JSON.stringify({
    ...{ type: "step", step, epoch: 0, loss, accuracy: 0.3, learningRate: 0.002, gradientNorm: 2 },
    ...{ tokens: 2000, targetTokens: 1000, examples: 40, seconds: 0.5 },
  })}\n`;
const evaluationLine = (step: number, loss: number): string =>
  `${JSON.stringify({ type: "evaluation", step, loss, accuracy: 0.3, best: true, seconds: 0.1 })}\n`;

interface NewRun {
  readonly rank?: number;
  readonly method?: string;
  readonly steps?: number;
  readonly made?: number;
  readonly validation?: number;
  readonly isComplete?: boolean;
  readonly at?: number;
}

let root = "";
let server: StudioServer;

async function addRun(name: string, run: NewRun = {}): Promise<string> {
  const {
    rank = 6,
    method = "mos",
    steps = 20,
    made = steps,
    validation,
    isComplete = true,
    at = 1.7e9,
  } = run;
  const folder = join(root, name);
  await mkdir(folder, { recursive: true });
  const record = {
    adapter: { method, rank, targets: ["q_proj", "v_proj"], seed: 0 },
    settings: { steps, learningRate: 0.002, batchSize: 4, schedule: "linear" },
    computeDtype: "float32",
  };
  const lines = Array.from({ length: made }, (_, i) => stepLine(i + 1, rank + 3 / (i + 1)));
  if (validation !== undefined) lines.push(evaluationLine(made, validation));
  await writeFile(join(folder, "metrics.jsonl"), lines.join(""));
  const config = { base_model_name_or_path: "tiny-english" };
  if (isComplete) await writeFile(join(folder, "adapter_config.json"), JSON.stringify(config));
  await writeFile(join(folder, "run.json"), JSON.stringify(record));
  await utimes(join(folder, "run.json"), at, at);
  return folder;
}

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "studio-runs-"));
  await addRun("support-small", { rank: 4, validation: 2.5, at: 1.71e9 });
  await addRun("support-large", { rank: 8, validation: 1.25, at: 1.72e9 });
  await addRun("legal", { method: "lora", made: 7, isComplete: false });
  // a slash would be another folder
  await addRun(SCRIPT, { rank: 5 });
  server = await startServer({ state: true, runs: root });
}, 240_000);
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await rm(root, { recursive: true, force: true });
});

/** Text of the rows in view, without the head. */
const rowsOf = (page: Awaited<ReturnType<typeof openStudio>>["page"]): Promise<string[]> =>
  page.locator("[role=row]:not(.head)").allInnerTexts();

test("runs of folders and jobs stand in one table, whose order, filter and columns are the reader's", async () => {
  await using studio = await openStudio({ server, at: "/runs" });
  const { page } = studio;
  await studio.see("support-large");
  await studio.see("4 runs");
  await studio.see("interrupted");
  await studio.see("7 / 20");
  await studio.see("1.250");
  await studio.see(SCRIPT);
  expect(await page.title()).not.toContain("owned");
  expect(await studio.seriousProblems()).toEqual([]);

  const form = new FormData();
  form.append("purpose", "fine-tune");
  const line = '{"prompt":"What is it?","completion":" A test."}\n';
  form.append("file", new Blob([line.repeat(8)]), "lines.jsonl");
  const stored = await fetch(`${server.address}/v1/files`, { method: "POST", body: form });
  const file: { readonly id: string } = JSON.parse(await stored.text());
  const job = { model: "tiny-english", training_file: file.id, suffix: "from-a-job", mos: { steps: 3 } };
  const { id } = await studio.api("/v1/fine_tuning/jobs", job);
  await studio.see("from-a-job");
  await studio.click("Columns");
  await page.getByRole("menuitemcheckbox", { name: "Tenant" }).click();
  await studio.press("Escape");
  await studio.see("anybody");
  while ((await studio.api(`/v1/fine_tuning/jobs/${id}`)).status !== "succeeded") await sleep(500);
  await studio.see("3 / 3");

  await studio.fill("Filter runs", "SUPPORT mos");
  await studio.see("2 of 5 runs");
  await studio.gone("legal");
  await studio.click("Validation loss");
  expect((await rowsOf(page)).map((text) => text.split("\n")[0])).toEqual(["support-large", "support-small"]);
  await studio.click("Validation loss");
  expect((await rowsOf(page)).map((text) => text.split("\n")[0])).toEqual(["support-small", "support-large"]);
  await studio.fill("Filter runs", "nothing like it");
  await studio.see("No runs match");
  await studio.click("Show all 5 runs");
  await studio.choose("Status", "interrupted (1)");
  await studio.see("1 of 5 runs");
  await studio.see("legal");
  await studio.choose("Status", "Any status");

  await studio.see("Method");
  await studio.click("Columns");
  await page.getByRole("menuitemcheckbox", { name: "Method" }).click();
  await studio.press("Escape");
  await page.reload();
  await studio.see("support-large");
  expect(await page.getByRole("columnheader").allInnerTexts()).not.toContain("Method");
  expect((await rowsOf(page))[0]).toContain("legal"); // with the greatest loss, as before
});

test("a run folder has a page of its own: curves, settings, and what is to be done to serve it", async () => {
  await using studio = await openStudio({ server, at: "/runs" });
  const { page } = studio;
  await page.getByText("support-large", { exact: true }).click();
  await page.waitForURL(/#\/run\//);
  await studio.see("Step 20 of 20");
  await studio.see("Best, at step 20");
  await page.getByRole("slider", { name: "Loss by step" }).focus();
  await studio.press("End");
  const loss = page.getByRole("slider", { name: "Loss by step" });
  await expect.poll(() => loss.getAttribute("aria-valuetext")).toMatch(/^Step 20: .*Validation 1\.250$/);
  await studio.see("This run was started with");
  await studio.see("This run's adapter isn't being served.");
  expect(await studio.text()).toMatch(/Rank\s+8/);
  for (const name of ["Pause", "Cancel"]) expect(await page.getByRole("button", { name }).count()).toBe(0);
  expect(await studio.seriousProblems()).toEqual([]);
});

test("a run says what it has taught and what was kept, and warns where much is lost", async () => {
  const outcome = {
    taught: { right: 40, of: 40 },
    kept: { right: 9, of: 20 },
    textLoss: { before: 4, after: 5 },
  };
  await writeFile(join(root, "support-large", "outcome.json"), JSON.stringify(outcome));
  await using studio = await openStudio({ server, at: "/runs" });
  await studio.page.getByText("support-large", { exact: true }).click();
  await studio.see(
    /^Learnt: 40 of 40 answers word for word\. Kept: 9 of 20 answers to general prompts, loss/,
  );
  await studio.see(/^much of what the base knew is lost/);
  expect(await studio.seriousProblems()).toEqual([]);
});

test("marked runs are compared: one chart with full names, and the settings that differ", async () => {
  await using studio = await openStudio({ server, at: "/runs" });
  const { page } = studio;
  await studio.see("support-large");
  await studio.click("Select support-small");
  await studio.click("Select support-large");
  await studio.see("2 runs compared");
  const panel = page.getByRole("region", { name: "Comparison of runs" });
  await panel.getByRole("row", { name: "Rank 4 8" }).waitFor();
  expect(await panel.getByRole("rowheader").allInnerTexts()).not.toContain("Schedule");
  await studio.click("Only differences");
  await panel.getByRole("row", { name: "Schedule linear linear" }).waitFor();
  await panel.getByRole("slider", { name: "Training loss by step" }).waitFor();
  for (const name of ["support-small", "support-large"])
    await panel.getByRole("button", { name: new RegExp(`${name} \\d`) }).waitFor();
  await studio.choose("Curve", "Gradient norm");
  await panel.getByRole("slider", { name: "Gradient norm by step" }).waitFor();
  expect(await studio.seriousProblems()).toEqual([]);
  // the address holds what is compared
  await page.reload();
  await studio.see("2 runs compared");
  await studio.click("Clear selection");
  await studio.gone("2 runs compared");
});

test("the table is used by keys alone", async () => {
  await using studio = await openStudio({ server, at: "/runs" });
  const { page } = studio;
  await studio.see("support-large");
  await studio.press("/");
  await page.keyboard.type("support");
  await studio.see("2 of 5 runs");
  await page.getByRole("grid", { name: "Runs" }).focus();
  for (const keys of ["Space", "ArrowDown", "Space"]) await studio.press(keys);
  await studio.see("2 runs compared");
  await studio.press("Escape");
  await studio.gone("2 runs compared");
  // a box takes no letters
  await page.getByRole("checkbox", { name: "Select all" }).focus();
  await studio.press("?");
  await page.getByRole("dialog", { name: "Commands" }).waitFor();
  await studio.press("Escape");
  await page.getByRole("checkbox", { name: "Select all" }).focus();
  for (const key of ["g", "c"]) await studio.press(key);
  await page.waitForURL(/#\/compare/);
  await page.goBack();
  await page.getByRole("grid", { name: "Runs" }).focus();
  await studio.press("Enter");
  await page.waitForURL(/#\/run\/run-/);
});

test("a run that goes on is marked, and its steps count up; then it is over", async () => {
  const folder = await addRun("live", { made: 1, isComplete: false, at: 1.73e9 });
  const lock = await lockFolder(folder);
  await using studio = await openStudio({ server, at: "/runs" });
  await studio.see("live");
  await studio.see("running");
  await studio.see("1 / 20");
  await appendFile(join(folder, "metrics.jsonl"), stepLine(2, 5) + stepLine(3, 4).slice(0, 9));
  await studio.see("2 / 20");
  await appendFile(join(folder, "metrics.jsonl"), `${stepLine(3, 4).slice(9)}${evaluationLine(3, 0.125)}`);
  await studio.see("3 / 20");
  await studio.see("0.125");
  await lock[Symbol.asyncDispose]();
  await writeFile(join(folder, "adapter_config.json"), "{}");
  await studio.gone("running");
});

test("500 runs scroll, and only those in view are in the document", async () => {
  for (let i = 0; i < 500; i++)
    await addRun(`bulk/run-${String(i).padStart(3, "0")}`, { at: 1e9 + i, made: 2 });
  await using studio = await openStudio({ server, at: "/runs" });
  const { page } = studio;
  await studio.see(/50\d runs/);
  expect((await rowsOf(page)).length).toBeLessThan(80);
  await page.getByRole("grid", { name: "Runs" }).focus();
  await studio.press("End");
  await studio.see("run-000");
  expect((await rowsOf(page)).length).toBeLessThan(80);
  await studio.fill("Filter runs", "bulk/run-250"); // ids have digits, too
  await studio.see("run-250");
  await studio.see(/1 of 50\d runs/);
});

test("where there are no runs, the page says how to make one", async () => {
  const empty = await mkdtemp(join(tmpdir(), "studio-empty-"));
  await using studio = await openStudio({ runs: empty, at: "/runs" });
  await studio.see("No runs yet");
  await studio.see("mos train");
  expect(await studio.seriousProblems()).toEqual([]);
  await rm(empty, { recursive: true });
});

test("charts of one run show one step under the crosshair, however many points they are drawn with", async () => {
  await addRun("long", { steps: 5000, validation: 3, at: 1.74e9 });
  await using studio = await openStudio({ server, at: "/runs" });
  const { page } = studio;
  await page.getByText("long", { exact: true }).click();
  await studio.see("Step 5,000 of 5,000");
  const chart = page.getByRole("slider", { name: "Loss by step" });
  const charts = page.getByRole("slider", { name: / by step$/ });
  const steps = (): Promise<string[]> =>
    charts.evaluateAll((all) => all.map((one) => /^Step [\d,]+/.exec(one.ariaValueText ?? "")?.[0] ?? ""));
  expect(await charts.count()).toBe(4);
  const { width = 0 } = (await chart.boundingBox()) ?? {};
  for (const share of [0.31, 0.553, 0.874]) {
    await chart.hover({ position: { x: share * width, y: 100 } });
    await expect.poll(async () => new Set(await steps()).size, { timeout: 10_000 }).toBe(1);
    expect((await steps())[0]).toMatch(/^Step [1-4],?\d{3}$/);
  }
  // a part that is looked at closely has every step, and by keys it is the next one
  await chart.focus();
  const detail = page.waitForResponse((response) => response.url().includes("to_step="));
  for (let i = 0; i < 4; i++) await studio.press("+");
  await detail;
  const stepNow = async (): Promise<number> => Number((await steps())[0]?.replaceAll(/\D/g, ""));
  const advance = async (): Promise<number> => {
    const before = await stepNow();
    await studio.press("ArrowRight");
    return (await stepNow()) - before;
  };
  await expect.poll(advance).toBe(1);
  expect(new Set(await steps()).size).toBe(1);
  await page.mouse.move(5, 5);
});
