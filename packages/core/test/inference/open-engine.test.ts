import { cp, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Engine, EngineClient, generate, openEngine } from "#inference";
import { loadModel, toLayerShapes } from "#models";
import { thisWriter } from "#platform";
import { chatTemplate } from "#text";
import { recordForks } from "../../../../test/replace-builtin.ts";
import { openCore } from "../../src/inference/open-core.ts";
import { openWorkerCore } from "../../src/inference/open-engine.ts";
import { randomAdapter } from "../random-adapter.ts";
import { catchRefusal, collectAnswer, request, thrownBy } from "./tiny-engine.ts";

const children = recordForks();

const MODEL = "assets/tiny-english";
const text = "Where does the keeper live?";

describe("an engine in a process of its own", () => {
  let engine: Engine;
  const seen: string[] = [];
  beforeAll(async () => {
    engine = await openEngine({
      model: MODEL,
      threads: 1,
      maxBatch: 4,
      maxWaiting: 1,
      onProgress: ({ type }) => seen.push(type),
    });
  }, 60_000);
  afterAll(() => engine[Symbol.asyncDispose]());

  test("reports progress while it opens", () => {
    expect(new Set(seen)).toEqual(new Set(["model", "adapters", "compile"]));
  });

  test("answers like generate", async () => {
    const base = await loadModel(MODEL);
    const prompt = base.text.tokenizer.encode(text);
    const answer = await collectAnswer(
      engine.submit(request({ prompt, maxTokens: 20, continuesPrompt: true })),
    );
    const expected = await collectAnswer(generate(base, text, { maxTokens: 20 }));
    expect(answer.text).toBe(expected.text);
    expect(answer.end.usage).toMatchObject({
      promptTokens: prompt.length,
      completionTokens: answer.ids.length,
    });
  });

  test("throws from submit for requests that it does not accept", async () => {
    const thrown = (over: Parameters<typeof request>[0]) => thrownBy(() => engine.submit(request(over)));
    expect(thrown({ prompt: [] })).toBe("bad_data");
    expect(thrown({ prompt: [1e9] })).toBe("bad_data");
    expect(thrown({ maxTokens: 1e6 })).toBe("bad_option");
    expect(await catchRefusal(() => engine.submit(request({ adapter: "unknown" })))).toBe("not_found");
    const codes = Array.from({ length: 5 }, () => catchRefusal(() => engine.submit(request())));
    expect(thrown({})).toBe("busy");
    expect(thrown({ tenant: "another", signal: AbortSignal.abort() })).toBe("accepted");
    expect(await Promise.all(codes)).toEqual(Array(5).fill("answered"));
  });

  test("takes text and conversations, with its own tokenizer and template", async () => {
    const { tokenizer, template } = engine.text;
    const messages = [{ role: "user", content: text }];
    const rendered = template.render(messages, { addGenerationPrompt: true });
    const submit = async (prompt: string, continuesPrompt: boolean) =>
      collectAnswer(engine.submit({ prompt: tokenizer.encode(prompt), continuesPrompt, maxTokens: 9 }));
    const chat = await collectAnswer(engine.chat(messages, { maxTokens: 9 }));
    expect(chat.text).toBe((await submit(rendered, false)).text);
    const completed = await collectAnswer(engine.complete(text, { maxTokens: 9 }));
    expect(completed.text).toBe((await submit(text, true)).text);
    const { maxLength } = engine.model;
    const cut = await collectAnswer(engine.complete("a".repeat(50), { maxTokens: 1e6, ignoreEos: true }));
    expect(cut.end.usage.promptTokens + cut.ids.length).toBe(maxLength);
    expect(thrownBy(() => engine.complete("a b ".repeat(maxLength)))).toBe("bad_option");
  });

  test("cancels a request by its signal, and when the caller leaves the loop", async () => {
    const controller = new AbortController();
    const long = request({ maxTokens: 200, ignoreEos: true, signal: controller.signal });
    let tokens = 0;
    let reason: string | undefined;
    for await (const event of engine.submit(long)) {
      if (event.type === "token" && ++tokens === 3) controller.abort();
      if (event.type === "finish") reason = event.finishReason;
    }
    expect(reason).toBe("cancelled");
    expect(tokens).toBeLessThan(200);
    for await (const event of engine.submit(request({ maxTokens: 200, ignoreEos: true })))
      if (event.type === "token") break;
    await expect.poll(async () => (await engine.stats()).running).toBe(0);
  });
});

test("lays conversations out with the variables that it is given", async () => {
  const base = await loadModel(MODEL);
  const template = chatTemplate({
    template: "{{ mood }}{{ messages[0].content }}",
    tokenizer: base.text.tokenizer,
  });
  const model = { ...base, text: { ...base.text, template } };
  await using engine = await openEngine({ model, threads: 1, chatTemplateKwargs: { mood: "calm: " } });
  const { template: laidOut } = engine.text;
  const messages = [{ role: "user", content: "Hi" }];
  expect(laidOut.render(messages)).toBe("calm: Hi");
  expect(laidOut.render(messages, { variables: { mood: "" } })).toBe("Hi");
  const refused = openEngine({ model, threads: 1, chatTemplateKwargs: { bos_token: "x" } });
  await expect(refused).rejects.toMatchObject({ code: "bad_option" });
});

describe("a merged adapter", async () => {
  const base = await loadModel(MODEL);
  const shapes = toLayerShapes(base.model.config);
  const adapter = randomAdapter({ method: "lora", rank: 3, seed: 1 }, shapes, { seed: 1, deviation: 0.3 });
  const mergedOver = async (mergeLimit: number) => {
    const settings = { model: base, mergedAdapter: adapter, threads: 1 };
    const opened = await openCore(settings, { onProgress: () => undefined, mergeLimit });
    return new EngineClient({ ...opened, text: base.text });
  };

  test("answers the same from a slot, where the model is too large to be copied", async () => {
    await using merged = await mergedOver(1e9);
    await using slotted = await mergedOver(1e3);
    await using plain = await openEngine({ model: base, threads: 1 });
    const ask = (engine: Engine) => collectAnswer(engine.complete(text, { maxTokens: 20, ignoreEos: true }));
    const [expected, answer] = [await ask(merged), await ask(slotted)];
    expect(answer.ids).toEqual(expected.ids);
    expect(answer.ids).not.toEqual((await ask(plain)).ids);
    expect([expected.digest, answer.digest]).toEqual([null, null]);
    expect([merged.adapters(), slotted.adapters()]).toEqual([[], []]);
    const bytes = async (engine: Engine) => (await engine.stats()).adapters.activeBytes;
    expect(await bytes(merged)).toBe(await bytes(plain));
    expect(await bytes(slotted)).toBeGreaterThan(await bytes(plain));
    expect(await catchRefusal(() => slotted.complete(text, { adapter: "merged" }))).toBe("not_found");
  });

  test("is refused when the engine is opened, where the folder holds none", () =>
    expect(openEngine({ model: base, mergedAdapter: MODEL })).rejects.toMatchObject({ code: "not_found" }));
});

test("an engine that cannot be opened throws, and its process ends", async () => {
  await expect(openEngine({ model: "no-such-model" })).rejects.toMatchObject({ code: "not_found" });
  await expect(openEngine({ model: MODEL, maxBatch: 0 })).rejects.toMatchObject({ code: "bad_option" });
  const signal = AbortSignal.timeout(1);
  await expect(openEngine({ model: MODEL, signal })).rejects.toMatchObject({ code: "cancelled" });
});

test("defaults that cannot be used end the opening, and leave no process", { tags: "thorough" }, async () => {
  const running = () =>
    children.filter(({ exitCode, signalCode }) => (exitCode ?? signalCode) === null).length;
  const before = running();
  const folder = await mkdtemp(join(tmpdir(), "mos-defaults-"));
  try {
    await cp(MODEL, folder, { recursive: true });
    await writeFile(join(folder, "generation_config.json"), '{"temperature": -1}');
    for (const inProcess of [false, true])
      await expect(openEngine({ model: folder, threads: 1, inProcess })).rejects.toMatchObject({
        code: "bad_model",
      });
    await expect(openEngine({ model: MODEL, threads: 1, defaults: { topP: 7 } })).rejects.toMatchObject({
      code: "bad_option",
    });
    await expect.poll(running).toBe(before);
    await using _engine = await openEngine({
      model: folder,
      threads: 1,
      defaults: { generationConfig: "none" },
    }); // the count would not show any if it were of something else
    expect(running()).toBe(before + 1);
  } finally {
    await rm(folder, { recursive: true });
  }
});
test.skipIf(process.platform === "win32")(
  "opening that is stopped leaves nothing beside the model",
  { tags: "thorough" },
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "mos-stopped-"));
    const model = join(folder, "model");
    await cp(MODEL, model, { recursive: true });
    const unfinished = async (): Promise<readonly string[]> =>
      await readdir(join(model, ".mos")).catch(() => []);
    try {
      for (const end of ["at once", "while weights are read"]) {
        // what a process that was killed has left, too
        await mkdir(join(model, ".mos"), { recursive: true });
        const left = `.int4-int8-0.safetensors.999999999-1-${thisWriter.place}-00000000.partial`;
        await writeFile(join(model, ".mos", left), "");
        const controller = new AbortController();
        const opening = openWorkerCore(
          { model, baseDtype: "int4" },
          {
            onProgress: ({ type }) => type === "model" && end !== "at once" && controller.abort(),
            signal: controller.signal,
            silentSeconds: 0,
          },
        );
        if (end === "at once") controller.abort();
        await expect(opening).rejects.toMatchObject({ code: "cancelled" });
        expect(await unfinished()).toEqual([]);
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  },
);
