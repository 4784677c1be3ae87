// What may go wrong in a page: no isolation, a signal, errors, and a worker that ends at any moment.
import { expect, test } from "vitest";
import { openPage } from "./page.ts";

const MODEL = "/assets/tiny-english/";
const EXAMPLES = Array.from({ length: 16 }, (_, i) => ({ prompt: `Say ${i}.`, completion: `Ahoy, ${i}!` }));
const RUN = {
  data: EXAMPLES,
  adapter: { method: "mos", rank: 3, equivalentRank: 2, shardsPerVector: 2, dropout: 0.1 },
  settings: { steps: 24, batchSize: 1, maxLength: 32, evaluateEvery: 5, saveEvery: 2, validationSplit: 4 },
} as const;

/** Names and digests of an adapter's files, as an expression of the page. */
const DIGEST = `(async (name) => {
  const bytes = await (await mos.adapterForm(name)).get("adapter_model").arrayBuffer();
  return Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))).join();
})`;

test("a page that is not isolated trains and answers with one thread", async () => {
  await using web = await openPage({ isIsolated: false });
  const found = await web.run<{ isolated: boolean; losses: number[]; text: string }>(
    `await using mos = await openWeb(options);
    const model = await mos.loadModel(argument.model);
    const losses = [];
    const settings = { ...argument.run.settings, steps: 2 };
    for await (const event of mos.finetune({ ...argument.run, settings, model, out: "two" }))
      if (event.type === "step") losses.push(event.loss);
    let text = "";
    for await (const event of mos.generate(model, "Once upon a time", { adapter: "two", maxTokens: 8 }))
      if ("text" in event) text += event.text;
    return { isolated: crossOriginIsolated, losses, text };`,
    { model: MODEL, run: RUN },
  );
  expect(found.isolated).toBe(false);
  expect(found.losses.every(Number.isFinite) && found.losses.length === 2).toBe(true);
  expect(found.text).not.toBe("");
});

test("errors keep their code, and an aborted run saves and ends", async () => {
  await using web = await openPage();
  const found = await web.run<{
    code: string;
    message: string;
    last: string;
    reason: string;
    events: string[];
  }>(
    `await using mos = await openWeb(options);
    const missing = await mos.loadModel("nobody").catch((error) => error);
    const model = await mos.loadModel(argument.model);
    const stop = new AbortController();
    const events = [];
    for await (const event of mos.finetune({ ...argument.run, model, out: "half", signal: stop.signal })) {
      events.push(event.type);
      if (event.type === "step" && event.step === 3) stop.abort();
    }
    const [half] = (await mos.list()).adapters;
    return { code: missing.code, message: missing.message, last: events.at(-1), reason: half.reason, events };`,
    { model: MODEL, run: RUN },
  );
  expect(found.code).toBe("not_found");
  expect(found.message).toContain("nobody");
  expect(found.last, found.events.join()).toBe("stopped");
  expect(found.reason).toBeTypeOf("string");
});

test("a run whose worker ended at a random moment goes on to the same bytes", async () => {
  await using web = await openPage();
  const milliseconds = Math.round(200 + 4000 * Math.random());
  const { whole, resumed, seen } = await web.run<{ whole: string; resumed: string; seen: number }>(
    `let mos = await openWeb(options);
    const model = await mos.loadModel(argument.model);
    const run = async (more) => {
      let seen = 0;
      for await (const event of mos.finetune({ ...argument.run, model, ...more })) seen += event.type === "step";
      return seen;
    };
    await run({ out: "whole" });
    const whole = await ${DIGEST}("whole");
    const ended = new Promise((resolve) => setTimeout(resolve, argument.milliseconds)).then(() => mos[Symbol.asyncDispose]());
    await run({ out: "cut" }).catch(() => undefined);
    await ended;
    mos = await openWeb(options);
    const { adapters } = await mos.list();
    const isCut = adapters.some(({ name, reason }) => name === "cut" && reason !== undefined);
    const isThere = adapters.some(({ name }) => name === "cut");
    const seen = isCut ? await run({ out: "cut", resume: true }) : isThere ? 0 : await run({ out: "cut" });
    const resumed = await ${DIGEST}("cut");
    await mos[Symbol.asyncDispose]();
    return { whole, resumed, seen };`,
    { model: MODEL, run: RUN, milliseconds },
  );
  expect(resumed, `ended after ${milliseconds} ms, ${seen} steps were left`).toBe(whole);
});
