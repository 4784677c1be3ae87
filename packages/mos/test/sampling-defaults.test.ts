// The settings of answers that nobody asks for: the same from the command line, the library and the server.
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type EngineEvent, generate, openEngine } from "mixture-of-shards-core/inference";
import { loadModel } from "mixture-of-shards-core/models";
import { serve } from "mixture-of-shards-server";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { mos } from "./bad-input/run-mos.ts";

const PROMPT = "Once upon a time";
const SEED = 5;
const quiet = { info: () => {}, warn: () => {}, error: () => {} };

let root = "";
let model = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "mos-defaults-"));
  model = join(root, "tiny");
  await cp("assets/tiny-english", model, { recursive: true });
});
afterAll(() => rm(root, { recursive: true, force: true }));

const makersSay = (config: object): Promise<void> =>
  writeFile(join(model, "generation_config.json"), JSON.stringify({ eos_token_id: [2, 0], ...config }));

const MAKERS = { do_sample: true, temperature: 1.5, top_p: 0.98, top_k: 60, max_new_tokens: 12 };

async function collectText(events: AsyncIterable<EngineEvent>): Promise<string> {
  let text = "";
  for await (const event of events) if (event.type === "token" || event.type === "finish") text += event.text;
  return text;
}

interface Asked {
  readonly more?: object;
  readonly flags?: readonly string[];
}

async function fromCommand({ flags = ["--raw"] }: Asked): Promise<string> {
  const asked = ["--model", model, "--prompt", PROMPT, "--seed", String(SEED), "--json", ...flags];
  const { code, stdout, stderr } = await mos(["generate", ...asked]);
  expect([code, stderr]).toEqual([0, ""]);
  return JSON.parse(stdout).answers[0].text;
}

interface Served {
  readonly completed: string;
  readonly chatted: string;
}

/** A completion and a chat by one server. */
async function fromServer({ more = {} }: Asked): Promise<Served> {
  await using server = await serve({ model, port: 0, log: quiet, threads: 1, ...more });
  const ask = async (route: string, body: object): Promise<Choice> => {
    const response = await fetch(`${server.address}/v1/${route}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: "tiny", seed: SEED, ...body }),
    });
    const { choices } = (await response.json()) as { choices: [Choice] };
    return choices[0];
  };
  const completion = await ask("completions", { prompt: PROMPT });
  const chat = await ask("chat/completions", { messages: [{ role: "user", content: PROMPT }] });
  await server.stop();
  return { completed: completion.text ?? "", chatted: chat.message?.content ?? "" };
}
interface Choice {
  readonly text?: string;
  readonly message?: { readonly content: string };
}

async function fromEngine({ more = {} }: Asked): Promise<string> {
  await using engine = await openEngine({ model, inProcess: true, defaults: more });
  return await collectText(engine.complete(PROMPT, { seed: SEED }));
}

const fromLibrary = async (): Promise<string> =>
  collectText(generate(await loadModel(model), PROMPT, { seed: SEED }));

test("generation_config.json gives the same tokens from the command, the library and the engine", async () => {
  await makersSay(MAKERS);
  const sampled = await fromEngine({});
  expect(await fromCommand({})).toBe(sampled);
  expect(await fromLibrary()).toBe(sampled);
  await makersSay({ max_new_tokens: 12 });
  const greedy = await fromEngine({});
  expect(greedy).not.toBe(sampled);
  for (const answer of [await fromCommand({}), await fromLibrary()]) expect(answer).toBe(greedy);
});

test("so does a server, whose chats are those of the command", { tags: "thorough" }, async () => {
  await makersSay(MAKERS);
  const served = await fromServer({});
  expect(served.completed).toBe(await fromEngine({}));
  expect(served.chatted).not.toBe("");
  expect(await fromCommand({ flags: [] })).toBe(served.chatted);
});

test("options come before the model's, and none passes over it", { tags: "thorough" }, async () => {
  await makersSay(MAKERS);
  const asked = {
    more: { temperature: 0.7, maxTokens: 9 },
    flags: ["--raw", "--temperature", "0.7", "--max-tokens", "9"],
  };
  const answer = await fromEngine(asked);
  expect(await fromCommand(asked)).toBe(answer);
  expect((await fromServer(asked)).completed).toBe(answer);
  const plain = { more: { generationConfig: "none", maxTokens: 9 } };
  const greedy = await fromEngine(plain);
  expect(greedy).not.toBe(answer);
  expect((await fromServer(plain)).completed).toBe(greedy);
  const flags = ["--raw", "--generation-config", "none", "--max-tokens", "9"];
  expect(await fromCommand({ flags })).toBe(greedy);
  await makersSay({ do_sample: false, temperature: 1.5 });
  expect(await fromCommand({ flags: ["--raw", "--max-tokens", "9"] })).toBe(greedy);
});

describe("numbers of a model that cannot be used", () => {
  test("are named with their file, and none passes over them", async () => {
    await makersSay({ top_p: 1.5, max_new_tokens: 3 });
    await expect(fromEngine({})).rejects.toThrow(
      /generation_config\.json: topP: 1\.5 is invalid; .*--generation-config none/,
    );
    expect(await fromEngine({ more: { generationConfig: "none", maxTokens: 3 } })).not.toBe("");
  });
});
