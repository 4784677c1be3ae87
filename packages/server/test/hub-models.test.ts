// Models by the name that the hub gives them, in every function that takes a model. The hub is a server of this test.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { exportAdapter, mergeAdapter } from "mixture-of-shards-core/convert";
import type { HubOptions, TransferEvent } from "mixture-of-shards-core/hub";
import { generate, openEngine, textStream } from "mixture-of-shards-core/inference";
import { inspectModel, loadModel, loadText, readModelConfig } from "mixture-of-shards-core/models";
import { finetune, previewRun } from "mixture-of-shards-core/training";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { writeTinyFolder } from "../../core/test/tiny-folder.ts";
import { openApp } from "../src/index.ts";

const COMMIT = "0123456789abcdef0123456789abcdef01234567";
const ADAPTER = { method: "mos", rank: 3, equivalentRank: 2, shardsPerVector: 2 } as const;
const SETTINGS = { steps: 1, batchSize: 1, maxLength: 64, validationSplit: 0 };

let folder: string;
let data: string;
let adapter: string;
let server: Server;
let files: ReadonlyMap<string, Buffer>;
let seen: { readonly path: string; readonly authorization: string | undefined }[];
let cacheFolder: string;
let hub: HubOptions;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-hub-models-"));
  const tiny = await writeTinyFolder(folder);
  data = tiny.data;
  adapter = join(folder, "adapter");
  files = new Map(readdirSync(tiny.model).map((name) => [name, readFileSync(join(tiny.model, name))]));
  const events = finetune({ model: tiny.model, data, out: adapter, adapter: ADAPTER, settings: SETTINGS });
  for await (const _ of events);
  server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});
afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await rm(folder, { recursive: true });
});
beforeEach(async () => {
  seen = [];
  cacheFolder = await mkdtemp(join(folder, "cache-"));
  hub = { endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, cacheFolder };
});
afterEach(() => vi.unstubAllEnvs());

/** One repository, org/tiny, whose files are all in git. */
function answer(request: IncomingMessage, response: ServerResponse): void {
  const path = decodeURIComponent(request.url?.split("?")[0] ?? "");
  seen.push({ path, authorization: request.headers.authorization });
  const json = (value: unknown): void =>
    void response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
  const file = files.get(path.replace(`/org/tiny/resolve/${COMMIT}/`, ""));
  if (path.startsWith("/api/models/org/tiny/revision/")) json({ id: "org/tiny", sha: COMMIT });
  else if (path === `/api/models/org/tiny/tree/${COMMIT}`)
    json(
      [...files].map(([name, { length }]) => ({
        type: "file",
        path: name,
        size: length,
        oid: computeOid(name),
      })),
    );
  else if (file !== undefined)
    response
      .setHeader("x-repo-commit", COMMIT)
      .setHeader("etag", `"${computeOid(basename(path))}"`)
      .end(file);
  else response.writeHead(404, { "x-error-code": "RepoNotFound" }).end();
}

function computeOid(name: string): string {
  const bytes = files.get(name) ?? Buffer.alloc(0);
  return createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
}

const failure = (code: string, message: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) });

test.each([
  ["the hub's", () => "https://huggingface.co/org/tiny"],
  ["a mirror's", () => `${hub.endpoint}/org/tiny/tree/main`],
])("a model's address may be %s, and is asked for at the endpoint", async (_, address) => {
  await using engine = await openEngine({ model: address(), hub, inProcess: true });
  expect(engine.model.vocabularySize).toBeGreaterThan(0);
  expect(seen[0]?.path).toBe("/api/models/org/tiny/revision/main");
  const alone = { hub: { ...hub, cacheFolder: join(folder, "none"), offline: true } };
  await expect(loadText("https://huggingface.co/org/tiny", alone)).rejects.toThrow(/^org\/tiny: /);
});

/** Everything that takes a model's name, and whether it says by events that it downloads. */
const DOORS: Readonly<Record<string, (downloads: TransferEvent[]) => Promise<unknown>>> = {
  loadModel: (downloads) => loadModel("org/tiny", { hub, onDownload: (event) => downloads.push(event) }),
  loadText: (downloads) => loadText("org/tiny", { hub, onDownload: (event) => downloads.push(event) }),
  inspectModel: (downloads) =>
    inspectModel("org/tiny", { hub, onDownload: (event) => downloads.push(event) }),
  openEngine: async (downloads) => {
    const onDownload = (event: TransferEvent) => downloads.push(event);
    await using _ = await openEngine({ model: "org/tiny", hub, onDownload, inProcess: true });
  },
  openApp: async (downloads) => {
    const onDownload = (event: TransferEvent) => downloads.push(event);
    await using app = await openApp({ model: "org/tiny", hub, onDownload });
    expect(app.modelName).toBe("tiny");
  },
  generate: async (downloads) => {
    const onDownload = (event: TransferEvent) => downloads.push(event);
    for await (const _ of generate("org/tiny", "Once", { maxTokens: 1, hub, onDownload }));
  },
  previewRun: (downloads) =>
    previewRun({
      model: "org/tiny",
      data,
      adapter: ADAPTER,
      settings: SETTINGS,
      hub,
      onDownload: (event) => downloads.push(event),
    }),
  exportAdapter: (downloads) =>
    exportAdapter({
      model: "org/tiny",
      adapter,
      format: "peft",
      out: join(cacheFolder, "peft"),
      hub,
      onDownload: (event) => downloads.push(event),
    }),
  finetune: async (downloads) => {
    const run = {
      model: "org/tiny",
      data,
      out: join(cacheFolder, "out"),
      adapter: ADAPTER,
      settings: SETTINGS,
    };
    const types: string[] = [];
    for await (const event of finetune({ ...run, hub })) {
      types.push(event.type);
      if (event.type === "download") downloads.push(event.transfer);
    }
    expect(types.lastIndexOf("download")).toBeLessThan(types.indexOf("memory"));
    expect(types.at(-1)).toBe("finish");
  },
  mergeAdapter: async (downloads) => {
    const types: string[] = [];
    for await (const event of mergeAdapter({
      model: "org/tiny",
      adapter,
      out: join(cacheFolder, "m"),
      hub,
    })) {
      types.push(event.type);
      if (event.type === "download") downloads.push(event.transfer);
    }
    expect(types.lastIndexOf("download")).toBeLessThan(types.indexOf("plan"));
    expect(types.at(-1)).toBe("finish");
  },
};

test.each(Object.keys(DOORS))("%s downloads what the cache does not have, once", async (name) => {
  const downloads: TransferEvent[] = [];
  await DOORS[name]?.(downloads);
  expect(downloads[0]).toMatchObject({ type: "listing", repository: "org/tiny", doneBytes: 0 });
  expect(downloads.findLast(({ type }) => type === "progress")).toMatchObject({
    doneBytes: [...files.values()].reduce((sum, { length }) => sum + length, 0),
  });
  seen = [];
  const { name: called } = (await loadModel("org/tiny", { hub: { ...hub, offline: true } })).model;
  expect([called, seen]).toEqual(["tiny", []]);
});

test("a config is read without the weights", async () => {
  expect(await readModelConfig("org/tiny", { hub })).toMatchObject({ vocabularySize: 1024 });
  expect(seen.filter(({ path }) => path.includes("/resolve/")).map(({ path }) => basename(path))).toEqual([
    "config.json",
  ]);
  expect(await readModelConfig("org/tiny", { hub: { ...hub, offline: true } })).toMatchObject({
    maxPositions: 128,
  });
});

test("the token is the one that is given, and the environment has none", async () => {
  vi.stubEnv("HF_TOKEN", "hf_environment");
  vi.stubEnv("HF_HOME", join(folder, "elsewhere"));
  await loadText("org/tiny", { hub });
  expect(new Set(seen.map(({ authorization }) => authorization))).toEqual(new Set([undefined]));
  await expect(loadText("org/gated", { hub: { ...hub, token: "hf_given" } })).rejects.toEqual(
    failure(
      "not_found",
      /^org\/gated: no such folder or file here; there is no model org\/gated at http.*token/,
    ),
  );
  expect(seen.at(-1)?.authorization).toBe("Bearer hf_given");
  expect(await readdir(folder)).not.toContain("elsewhere");
});

test("what is neither here nor there is one clear message", { tags: "thorough" }, async () => {
  const offline = loadModel("org/tiny", { hub: { ...hub, offline: true } });
  await expect(offline).rejects.toEqual(
    failure(
      "not_found",
      /^org\/tiny: no such folder or file here; org\/tiny is not in the cache .*, and network access is disabled$/,
    ),
  );
  const nobody = loadModel("org/tiny", {
    hub: { ...hub, endpoint: "http://127.0.0.1:9" },
    signal: AbortSignal.timeout(60_000),
  });
  await expect(nobody).rejects.toEqual(
    failure("network", /^org\/tiny: no such folder or file here; http:\/\/127\.0\.0\.1:9 cannot be reached/),
  );
  await expect(loadModel("models/tiny/none", { hub })).rejects.toEqual(
    failure("not_found", /no such folder or file; give/),
  );
});

test("a signal stops a download", async () => {
  const controller = new AbortController();
  const onDownload = (): void => controller.abort();
  const loading = loadModel("org/tiny", { hub, onDownload, signal: controller.signal });
  await expect(loading).rejects.toEqual(failure("cancelled", /stopped downloading/));
});

test("a text is continued, messages are answered, and a message alone is a conversation", async () => {
  const model = "assets/tiny-english";
  const collectAnswer = async (stream: AsyncIterable<string>): Promise<string> => {
    let text = "";
    for await (const part of stream) text += part;
    return text;
  };
  const base = await loadModel(model);
  const question = "What is a lighthouse?";
  await using engine = await openEngine({ model: base });
  const conversation = [{ role: "user", content: question }];
  const options = { maxTokens: 24 };
  const [chat, text] = await Promise.all([
    collectAnswer(textStream(generate(base, conversation, options))),
    collectAnswer(textStream(generate(base, question, options))),
  ]);
  expect(chat).not.toBe(text);
  expect(await collectAnswer(textStream(engine.chat(question, options)))).toBe(chat);
  for (const wrong of [[], [{ role: "user" }], { kind: "text", text: "Once" }, undefined, 3])
    expect(() => engine.chat(wrong as never)).toThrow(failure("bad_option", /an array of messages/));
  expect(await collectAnswer(textStream(engine.complete(question, options)))).toBe(text);
  expect(await collectAnswer(textStream(generate(model, question, options)))).toBe(text);
});
