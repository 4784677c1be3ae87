// Pictures of every view with data in it, light and dark, where MOS_PICTURES names a folder (npm run studio:screenshots): what
// goes wrong behind a view, and what axe calls serious, fails here, too.
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type StudioServer, startServer } from "./server.ts";
import { keyFor, openStudio, type Studio } from "./studio.ts";

const PICTURES = process.env["MOS_PICTURES"] ?? "";
/** A telephone, a large screen, and last what the documents show. */
const WIDTHS = [360, 2560, 1280];
const LEARNING_RATE = 1e-2;
/** A curve that says something, in a quarter of a minute on two idle cores. */
const STEPS = 200;

let server: StudioServer | undefined;
/** A job that has ended, and its model. */
let job: { readonly id: string; readonly fine_tuned_model: string };

// biome-ignore lint/suspicious/noExplicitAny: tests read answers of any shape
async function ask(path: string, body?: object): Promise<any> {
  const isForm = body instanceof FormData;
  const answer = await fetch(`${server?.address}/v1/${path}`, {
    headers: {
      authorization: `Bearer ${keyFor("admin")}`,
      ...(body === undefined || isForm ? {} : { "content-type": "application/json" }),
    },
    ...(body === undefined ? {} : { method: "POST", body: isForm ? body : JSON.stringify(body) }),
  });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

async function upload(name: string): Promise<string> {
  const form = new FormData();
  form.set("purpose", "fine-tune");
  form.set("file", new Blob([await readFile(join("assets/quickstart", name))]), name);
  return (await ask("files", form)).id;
}

beforeAll(async () => {
  if (PICTURES === "") return;
  server = await startServer({ state: true, keys: true });
  const [training_file, validation_file] = [await upload("train.jsonl"), await upload("validation.jsonl")];
  const start = (suffix: string, mos: object) =>
    ask("fine_tuning/jobs", { model: "tiny-english", training_file, validation_file, suffix, mos });
  const jobs = [
    await start("lighthouse", { steps: STEPS, learning_rate: LEARNING_RATE, evaluate_every: STEPS / 4 }),
    await start("lora", {
      method: "lora",
      steps: STEPS,
      learning_rate: LEARNING_RATE,
      evaluate_every: STEPS / 4,
    }),
  ];
  for (const [i, { id }] of jobs.entries()) {
    let now = jobs[i];
    while (now.finished_at === null) {
      await sleep(300);
      now = await ask(`fine_tuning/jobs/${id}`);
    }
    expect(now.status).toBe("succeeded");
    if (i === 0) job = now;
  }
  // one that still runs
  await start("night-shift", { steps: 5000, learning_rate: LEARNING_RATE / 4 });
}, 600_000);
afterAll(() => server?.[Symbol.asyncDispose]());

interface View {
  readonly at: () => string;
  /** Shows what the view is for. */
  readonly prepare: (studio: Studio) => Promise<void>;
}

const VIEWS: Readonly<Record<string, View>> = {
  runs: { at: () => "/runs", prepare: (studio) => studio.see(/lighthouse/) },
  run: { at: () => `/run/${job.id}`, prepare: (studio) => studio.see(/^succeeded$/i) },
  "new-run": {
    at: () => "/new-run",
    prepare: async (studio) => {
      await studio.click("Use the example data");
      await studio.see(/224 examples/);
    },
  },
  compare: {
    at: () => `/compare?models=tiny-english,${encodeURIComponent(job.fine_tuned_model)}`,
    prepare: async (studio) => {
      await studio.fill("Message to all models", "When can I come in?");
      await studio.click("Send");
      await studio.see(/I am sorry/);
      await studio.click("Differences");
    },
  },
  adapters: { at: () => "/adapters", prepare: (studio) => studio.see(/lighthouse/) },
  adapter: {
    at: () => `/adapters/${encodeURIComponent(job.fine_tuned_model)}`,
    prepare: (studio) => studio.see(/pool/i),
  },
  system: { at: () => "/system", prepare: (studio) => studio.see(/tokens/i) },
  keys: { at: () => "/keys", prepare: (studio) => studio.see("globex") },
};

for (const [name, { at, prepare }] of Object.entries(VIEWS))
  for (const dark of [false, true])
    test.skipIf(PICTURES === "")(`${name}, ${dark ? "dark" : "light"}`, async () => {
      await using studio = await openStudio({
        ...(server === undefined ? {} : { server }),
        as: "admin",
        at: at(),
        dark,
      });
      await prepare(studio);
      await sleep(1500); // charts and pictures of shards are drawn in their own time
      await mkdir(PICTURES, { recursive: true });
      for (const width of WIDTHS) {
        await studio.page.setViewportSize({ width, height: 800 });
        await sleep(500); // charts take their new width at the next frames
        const size = width === 1280 ? "" : `-${width}`;
        const picture = `${name}-${dark ? "dark" : "light"}${size}.png`;
        await studio.page.screenshot({ path: join(PICTURES, picture) });
      }
      expect(await studio.seriousProblems()).toEqual([]);
    });
