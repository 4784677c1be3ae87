import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MosError } from "#core";
import { type Engine, openEngine } from "#inference";
import { generate, loadModel } from "#recipes";
import { answerOf, request } from "./tiny-engine.ts";

const MODEL = "assets/tiny-english";
const text = "Where does the keeper live?";

describe("an engine in a process of its own", () => {
  let engine: Engine;
  const seen: string[] = [];
  beforeAll(async () => {
    engine = await openEngine({ model: MODEL, threads: 1, onProgress: ({ type }) => seen.push(type) });
  }, 60_000);
  afterAll(() => engine[Symbol.asyncDispose]());

  test("tells how far opening is", () => {
    expect(new Set(seen)).toEqual(new Set(["model", "adapters", "quantize", "compile"]));
  });

  test("answers as generate does", async () => {
    const base = await loadModel(MODEL);
    const prompt = base.text.tokenizer.encode(text);
    const answer = await answerOf(engine.submit(request({ prompt, maxTokens: 20, continuesPrompt: true })));
    let expected = "";
    for await (const event of generate(base, { kind: "text", text }, { maxTokens: 20 }))
      if (event.type === "text") expected += event.text;
    expect(answer.text).toBe(expected);
    expect(answer.end.usage).toMatchObject({
      promptTokens: prompt.length,
      completionTokens: answer.ids.length,
    });
  });

  test("passes refusals on", async () => {
    const refused = async (over: Parameters<typeof request>[0]) => {
      try {
        await answerOf(engine.submit(request(over)));
      } catch (error) {
        return error instanceof MosError ? error.code : error;
      }
      return "answered";
    };
    expect(await refused({ prompt: [] })).toBe("bad_data");
    expect(await refused({ prompt: [1e9] })).toBe("bad_data");
    expect(await refused({ maxTokens: 1e6 })).toBe("bad_option");
    expect(await refused({ adapter: "nobody" })).toBe("not_found");
  });

  test("a request is cancelled by its signal, and by leaving the loop", async () => {
    const controller = new AbortController();
    const long = request({ maxTokens: 200, ignoreEos: true, signal: controller.signal });
    let tokens = 0;
    let reason: string | undefined;
    for await (const event of engine.submit(long)) {
      if (event.type === "token" && ++tokens === 3) controller.abort();
      if (event.type === "finish") reason = event.reason;
    }
    expect(reason).toBe("cancelled");
    expect(tokens).toBeLessThan(200);
    for await (const event of engine.submit(request({ maxTokens: 200, ignoreEos: true })))
      if (event.type === "token") break;
    await expect.poll(async () => (await engine.stats()).running).toBe(0);
  });
});

test("what cannot be opened is refused in words, and ends the process", async () => {
  await expect(openEngine({ model: "no-such-model" })).rejects.toMatchObject({ code: "not_found" });
  await expect(openEngine({ model: MODEL, maxBatch: 0 })).rejects.toMatchObject({ code: "bad_option" });
  const signal = AbortSignal.timeout(1);
  await expect(openEngine({ model: MODEL, signal })).rejects.toMatchObject({ code: "cancelled" });
});
