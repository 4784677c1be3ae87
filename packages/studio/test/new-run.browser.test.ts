// New run, as a newcomer does it: data, a look at them, and the start.
import { afterAll, beforeAll, expect, test } from "vitest";
import { type StudioServer, startServer } from "./server.ts";
import { openStudio } from "./studio.ts";

let server: StudioServer;
beforeAll(async () => {
  server = await startServer({ state: true });
});
afterAll(() => server[Symbol.asyncDispose]());

const SCRIPT = "<img src=x onerror=alert(1)><script>alert(1)</script>";
const line = (question: string, answer: string): string =>
  JSON.stringify({
    messages: [
      { role: "user", content: question },
      { role: "assistant", content: answer },
    ],
  });

test("from the example data to a run that has begun", async () => {
  await using studio = await openStudio({ server, at: "/new-run" });
  await studio.click("Use the example data");
  await studio.see("train.jsonl");
  await studio.see("validation.jsonl");
  await studio.see(/224 examples/);
  await studio.see("user");
  expect(await studio.text()).toMatch(/vs. LoRA of the same rank\s+3.0× smaller/);
  // what is typed decides, and what is not, the data
  await studio.click("Set steps instead");
  await studio.fill("Steps", "0");
  await studio.see("Enter a whole number from 1 to 10000000");
  expect(await studio.page.getByRole("button", { name: "Start run" }).isDisabled()).toBe(true);
  await studio.fill("Steps", "2");
  await studio.fill("Maximum length", "64");
  await studio.see(/"steps": 2/);
  await studio.see(/^Steps\s*2$/);
  const [asked] = await Promise.all([
    studio.page.waitForRequest((request) => request.url().endsWith("/fine_tuning/jobs")),
    studio.click("Start run"),
  ]);
  expect(asked.headers()["idempotency-key"]).toMatch(/^[0-9a-f]{32}$/);
  expect(asked.postDataJSON().mos).toEqual({ adapter: "mos", steps: 2, max_length: 64 });
  await studio.page.waitForURL(/#\/run\/ftjob-/);
  const [job] = (await studio.api("/v1/fine_tuning/jobs")).data;
  expect(studio.page.url()).toContain(job.id);
  expect(job.mos).toMatchObject({ adapter: "mos", steps: 2, max_length: 64 });

  // the same again
  await studio.open(`/new-run?from=${job.id}`);
  await studio.see("train.jsonl");
  expect(await studio.page.getByLabel("Steps", { exact: true }).inputValue()).toBe("2");
});

test("a broken file shows all its wrong lines at once", async () => {
  await using studio = await openStudio({ server, at: "/new-run" });
  const text = [line("a", "b"), '{"messages": ', line("c", "d"), `{"${SCRIPT}": 1}`].join("\n");
  await studio.attach({ name: `broken ${SCRIPT}.jsonl`, text }, "Training file");
  await studio.see("2 invalid lines: fix the file, then replace it");
  const list = await studio.page.getByRole("listitem").allInnerTexts();
  expect(list.filter((item) => /^2\s+not valid JSON/.test(item))).toHaveLength(1);
  expect(
    list.filter((item) => /^4\s+there is no field/.test(item) && item.includes("<script>")),
  ).toHaveLength(1);
  expect(await studio.page.getByRole("button", { name: "Start run" }).isDisabled()).toBe(true);
});

test("a file of pairs is trained on as what it is", async () => {
  await using studio = await openStudio({ server, at: "/new-run" });
  studio.allow(/request: 400 POST .*\/preview$/);
  const pair = { prompt: "How are you?", chosen: "Ahoy! Well.", rejected: "Fine." };
  const text = Array.from({ length: 12 }, () => JSON.stringify(pair)).join("\n");
  await studio.attach({ name: "dpo.jsonl", text }, "Training file");
  await studio.see("12 examples");
  await studio.see("rejected");
  const objective = studio.page.getByLabel("Objective", { exact: true });
  expect(await objective.locator("option:checked").textContent()).toBe("auto: dpo");
  expect(await studio.page.getByRole("alert").count()).toBe(0);
  await studio.see(/"objective": "dpo"/);
  // what does not fit the file is marked where it was chosen, in words that a browser can do something with
  await studio.choose("Objective", "sft");
  const wrong =
    "the training file holds pairs, but the objective sft learns from examples; use dpo or orpo or simpo";
  await studio.see(wrong);
  expect(await objective.getAttribute("aria-invalid")).toBe("true");
  expect(await studio.page.getByRole("button", { name: "Start run" }).isDisabled()).toBe(true);
  expect(await studio.text()).not.toMatch(/\.mos|storage\/|--\w+-?\w* is/);
  await studio.choose("Objective", "orpo");
  await studio.gone(wrong);
  await studio.fill("Maximum length", "64");
  await studio.choose("Objective", "auto: dpo");
  await studio.click("Set steps instead");
  await studio.fill("Steps", "1");
  await studio.see(/^Steps\s*1$/);
  await studio.click("Start run");
  await studio.page.waitForURL(/#\/run\/ftjob-/);
  await studio.see(/created/);
  expect(await studio.text()).not.toMatch(/created in \d/);
  const [job] = (await studio.api("/v1/fine_tuning/jobs")).data;
  expect(job.method.type).toBe("dpo");
  expect(job.mos.objective).toBe("dpo");

  // another file is another objective
  await studio.open("/new-run");
  const chosen = (): Promise<string | null> => objective.locator("option:checked").textContent();
  await studio.attach({ name: "dpo.jsonl", text });
  await expect.poll(chosen, { timeout: 30_000 }).toBe("auto: dpo");
  await studio.attach({ name: "train.jsonl", text: line("a", "b") });
  await studio.see(/^1 example · /);
  expect(await chosen()).toBe("auto: sft");
});

test("characters of several tokens are shown as one, and what would hide in a text is marked", async () => {
  await using studio = await openStudio({ server, at: "/new-run" });
  const text = [line("日本 😀?", "\u202eAhoy\u200b"), line("c", "d")].join("\n");
  await studio.attach({ name: "signs.jsonl", text }, "Training file");
  await studio.see(/^2 examples · /);
  const tokens = await studio.page.locator(".token").allInnerTexts();
  expect(tokens).toContain("日");
  expect(tokens.join("")).toContain("😀");
  expect(tokens.join("")).not.toContain("\ufffd");
  expect(tokens.join("")).toMatch(/⟨U\+202E⟩Ahoy⟨U\+200B⟩/);
  await studio.page
    .getByTitle(/^tokens \d+, \d+/)
    .first()
    .waitFor();
});

test("script in data lines stays text, and long lines are marked", async () => {
  await using studio = await openStudio({ server, at: "/new-run" });
  const long = line("How long?", "very ".repeat(200));
  const text = [line(SCRIPT, `Yes ${SCRIPT}`), line("c", "d"), line("e", "f"), long].join("\n");
  await studio.attach({ name: "script.jsonl", text }, "Training file");
  await studio.see(/4 examples/);
  const trained = await studio.page.locator(".token.trained").allInnerTexts();
  expect(trained.join("")).toContain(`Yes ${SCRIPT}`);
  await studio.fill("Maximum length", "128");
  await studio.see("Check 1 line");
  await studio.click("Line 4");
  await studio.see("truncated");
  expect(await studio.seriousProblems()).toEqual([]);
});
