// Comparing answers, as a person does it: the bundled model beside an adapter that was trained for a moment.
import { randomUUID } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { finetune } from "mixture-of-shards";
import type { Locator } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type StudioServer, startServer } from "./server.ts";
import { openStudio, type Studio, type StudioOptions } from "./studio.ts";

let folder: string;
let server: StudioServer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-compare-"));
  const settings = { steps: 12, batchSize: 4, maxLength: 128, learningRate: 1e-2 };
  const data = "assets/quickstart/train.jsonl";
  const out = join(folder, "keeper");
  for await (const _ of finetune({
    model: "assets/tiny-english",
    data,
    out,
    adapter: { method: "lora", rank: 4 },
    settings,
  }));
  server = await startServer({ adapters: folder });
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

const BOTH = "/compare?models=tiny-english,keeper";
const QUESTION = "Who is the keeper of the lighthouse?";

const open = (options: StudioOptions = {}): Promise<Studio> => openStudio({ server, at: BOTH, ...options });

async function ask(studio: Studio, text = QUESTION): Promise<void> {
  await studio.fill("Message to all models", text);
  await studio.press("Enter");
}

const answerOf = ({ page }: Studio, name: string) =>
  page.getByRole("region", { name: `Answer of ${name}` }).last();

// biome-ignore lint/performance/useDomNodeTextContent: what is hidden does not count
const shown = (locator: Locator): Promise<string> => locator.innerText();

/** Asks, and waits until both have answered. */
async function askBoth(studio: Studio, text?: string): Promise<void> {
  await ask(studio, text);
  await studio.page.getByRole("button", { name: "Send" }).waitFor();
  await answerOf(studio, "keeper").getByText(/\w/).waitFor();
}

/** What a download holds. */
async function downloaded(
  { page }: Studio,
  click: () => Promise<void>,
): Promise<{ name: string; text: string }> {
  const [download] = await Promise.all([page.waitForEvent("download"), click()]);
  const path = join(folder, "..", `${randomUUID()}.txt`);
  await download.saveAs(path);
  const text = await readFile(path, "utf8");
  await rm(path);
  return { name: download.suggestedFilename(), text };
}

async function openFile({ page }: Studio, { name, text }: { name: string; text: string }): Promise<void> {
  await page.evaluate(`{
    const files = new DataTransfer();
    files.items.add(new File([${JSON.stringify(text)}], ${JSON.stringify(name)}));
    dispatchEvent(new DragEvent("drop", { dataTransfer: files, cancelable: true }));
  }`);
}

test("two models answer side by side, and differences are marked", async () => {
  await using studio = await open();
  await studio.see("Compare models side by side");
  await askBoth(studio);
  expect(await shown(answerOf(studio, "tiny-english"))).not.toBe("");
  expect(await shown(answerOf(studio, "keeper"))).toContain("Ahoy");
  const figures = /\d\/s\s.* s\s\d+ tokens/g;
  expect((await shown(studio.page.locator(".panes"))).match(figures)).toHaveLength(2);
  // only ends are said to those who do not see them
  const said = await shown(studio.page.locator(".compare > [role=status]"));
  expect(
    said
      .split("\n")
      .filter((line) => line !== "")
      .sort(),
  ).toEqual([
    expect.stringMatching(/^keeper finished, \d+ tokens$/),
    expect.stringMatching(/^tiny-english finished, \d+ tokens$/),
  ]);
  await studio.click("Differences");
  await answerOf(studio, "keeper").locator("ins").first().waitFor();
  expect(await answerOf(studio, "tiny-english").locator("ins").count()).toBe(0);
  expect(await studio.seriousProblems()).toEqual([]);
});

test("a conversation goes on with each model's own answers, and a turn can be edited", async () => {
  await using studio = await open();
  await askBoth(studio, "Hello.");
  await askBoth(studio, "Do you have a cat?");
  await studio.see("Do you have a cat?");
  expect(await studio.page.getByRole("region", { name: "Answer of keeper" }).count()).toBe(2);
  await studio.click("Edit turn 1");
  await studio.fill("Text of turn 1", "Good morning.");
  await studio.click("Ask");
  await studio.gone("Do you have a cat?");
  await studio.see("Good morning.");
  await studio.click("More");
  await studio.click("New comparison");
  await studio.see("Compare models side by side");
});

test("probabilities come on demand, and a token's alternatives by the keyboard", async () => {
  await using studio = await open();
  await askBoth(studio);
  await studio.click("Probabilities");
  await studio.see("This answer has no probabilities.");
  const before = await shown(answerOf(studio, "keeper").locator(".answer-text"));
  await studio.click("Regenerate with the same seed");
  const tokens = studio.page.getByRole("listbox", { name: "Tokens of keeper" });
  await tokens.waitFor();
  expect(await shown(tokens)).toBe(before);
  await tokens.focus();
  await studio.press("ArrowRight");
  const alternatives = answerOf(studio, "keeper").getByRole("group", { name: "Alternatives" });
  await alternatives.getByRole("listitem").nth(4).waitFor();
  expect(await shown(alternatives)).toMatch(/\d%/);
  await tokens.getByRole("option").nth(3).hover();
  await tokens.getByRole("option", { selected: true }).waitFor();
  expect(await studio.seriousProblems()).toEqual([]);
});

test("a blind vote hides who is who, is kept, and downloads as preference pairs", async () => {
  await using studio = await open();
  await studio.click("Blind");
  await ask(studio);
  await studio.page.getByRole("group", { name: "Which answer is better?" }).waitFor();
  await studio.see("Figures are shown after the vote");
  const panes = studio.page.locator(".panes");
  const better = studio.page.getByRole("button", { name: "B", exact: true });
  await better.and(studio.page.locator(":enabled")).waitFor();
  expect(await shown(panes)).not.toMatch(/keeper\n|tiny-english|tokens/);
  const good = (await shown(answerOf(studio, "B").locator(".answer-text"))).trim();
  await better.click();
  await studio.see(/You chose (tiny-english|keeper)\. One pair kept\./);
  expect(await shown(panes)).toMatch(/tiny-english/);
  await studio.page.reload();
  await studio.click("Votes (1)");
  await studio.see("One vote, blind.");
  const { name, text } = await downloaded(studio, () => studio.click("Download pairs"));
  expect(name).toMatch(/^preferences-[\d-]+\.jsonl$/);
  const [pair, ...others] = text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(others).toEqual([]);
  expect(pair.prompt).toEqual([{ role: "user", content: QUESTION }]);
  expect(pair.chosen).toEqual([{ role: "assistant", content: good }]);
  expect(pair.rejected[0].content).not.toBe(good);
  await studio.click("Remove all");
  await studio.click("Yes, remove 1");
  await studio.see("No votes yet");
});

test("a comparison is saved as a file, and opens by dropping it", async () => {
  await using studio = await open();
  await studio.fill("System prompt", "Be kind.");
  await askBoth(studio);
  const answer = await shown(answerOf(studio, "keeper"));
  await studio.click("More");
  const file = await downloaded(studio, () => studio.click("Save as a file"));
  expect(JSON.parse(file.text)).toMatchObject({ format: "mos-comparison", version: 1 });
  await studio.page.reload();
  await studio.see("Compare models side by side");
  await openFile(studio, file);
  await studio.see(QUESTION);
  expect(await shown(answerOf(studio, "keeper"))).toBe(answer);
  await openFile(studio, { name: "other.json", text: "[]" });
  await studio.see("other.json cannot be opened: This is no saved comparison");
});

test("what looks like a script stays text", async () => {
  const evil = `<img src="x" onerror="document.title='evil'"><script>document.title='evil'</script>`;
  await using studio = await open();
  await askBoth(studio, evil);
  await studio.see(evil);
  await studio.click("More");
  const file = await downloaded(studio, () => studio.click("Save as a file"));
  const saved = JSON.parse(file.text);
  for (const { answer } of saved.turns[0].answers)
    Object.assign(answer, {
      text: `${evil} ${answer.text}`,
      reasoning: evil,
      calls: [{ id: "1", kind: "function", name: evil, text: `{"city":${JSON.stringify(evil)}}` }],
    });
  await openFile(studio, { name: "evil.json", text: JSON.stringify(saved) });
  await studio.see("Calls");
  for (const reading of ["Differences", "Probabilities", "Text"]) await studio.click(reading);
  expect(await shown(answerOf(studio, "keeper"))).toContain(evil);
  expect(await studio.page.title()).not.toContain("evil");
  expect(await studio.page.locator("img").count()).toBe(0);
});

test("one model's error is its pane's, and settings are checked before anything is sent", async () => {
  await using studio = await open({ at: "/compare?models=tiny-english,nobody" });
  studio.allow(/404 POST/);
  await ask(studio);
  await studio.see("does not exist");
  await studio.see("Try again");
  expect(await shown(answerOf(studio, "tiny-english"))).not.toBe("");
  await studio.page.getByText("Response format").click();
  await studio.fill("JSON schema", '{"type": ');
  await studio.see(/Settings: This is not JSON/);
  const properties = { cat: { enum: ["Button"] } };
  const schema = { type: "object", properties, required: ["cat"], additionalProperties: false };
  await studio.fill("JSON schema", JSON.stringify(schema));
  await studio.click("Remove nobody");
  await ask(studio, "Do you have a cat?");
  await studio.page.getByRole("button", { name: "Send" }).waitFor();
  expect(JSON.parse(await shown(answerOf(studio, "tiny-english")))).toEqual({ cat: "Button" });
});

test("streams stop, survive a restart of the server, and move nothing", async () => {
  await using own = await startServer({ adapters: folder });
  await using studio = await open({ server: own });
  studio.allow(/ERR_|50\d/);
  await studio.choose("Mode", "Completion");
  // an answer without an end, as far as the context goes
  await studio.fill("Max tokens", "450");
  await studio.page.getByText("Response format").click();
  const schema = { type: "array", items: { enum: ["again and again"] }, minItems: 300 };
  await studio.fill("JSON schema", JSON.stringify(schema));
  await watchShifts(studio);
  await studio.fill("Text to continue", "Once upon a time");
  await studio.press("Enter");
  await answerOf(studio, "tiny-english").getByText(/again/).waitFor();
  await studio.click("Stop");
  await studio.see("stopped");
  expect(await shifts(studio)).toBeLessThan(0.0001);
  await studio.press("Enter");
  await answerOf(studio, "tiny-english").getByText(/again/).waitFor();
  await own.stop();
  await studio.see("the server was lost in the middle of its answer");
  await own.restart();
  await studio.gone(/cannot be reached|away/);
  await studio.click("Try again");
  await answerOf(studio, "tiny-english").getByText(/again/).waitFor();
  await studio.click("Stop");
});

const watchShifts = ({ page }: Studio): Promise<unknown> =>
  page.evaluate(`{
    globalThis.shifts = 0;
    new PerformanceObserver((list) => {
      for (const { hadRecentInput, value } of list.getEntries()) if (!hadRecentInput) globalThis.shifts += value;
    }).observe({ type: "layout-shift" });
  }`);

const shifts = ({ page }: Studio): Promise<number> => page.evaluate("shifts");

test("fits a phone: panes are swiped, the page does not scroll sideways", async () => {
  await using studio = await open({ width: 360, height: 740, dark: true });
  await askBoth(studio);
  const width = await studio.page.evaluate("document.documentElement.scrollWidth");
  const panes = await studio.page.evaluate("document.querySelector('.panes').scrollWidth");
  expect(width).toBeLessThanOrEqual(360);
  expect(panes).toBeGreaterThan(360);
  await studio.page.getByLabel("Settings").click();
  await studio.fill("Temperature", "7");
  await studio.see("7 is not a number from 0 to 2");
  await studio.click("Close settings");
  expect(await studio.seriousProblems()).toEqual([]);
});
