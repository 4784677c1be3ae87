// The same run in a page and on Node: losses, adapters and answers, and the folder of one read by the other.
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { finetune, generate, loadAdapter, readModelConfig, toLayerShapes } from "../../src/index.ts";
import { readTar, tarParts } from "../../src/web/tar.ts";
import { openPage, type WebPage } from "./page.ts";

const MODEL = "assets/tiny-english";
const RUN = {
  adapter: { method: "mos", rank: 6, equivalentRank: 2, dropout: 0.1 },
  settings: { steps: 60, batchSize: 2, maxLength: 64, learningRate: 1e-2, evaluateEvery: 20, saveEvery: 30 },
} as const;
const QUESTION = [{ role: "user" as const, content: "Who is the keeper of the lighthouse?" }];
const ANSWER = { maxTokens: 24, sampling: { temperature: 0 } };
/** Largest difference from Node. */
const TOLERANCE = 1e-4;

let folder: string;
let web: WebPage;
let nodeLosses: number[];
let pageLosses: number[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-page-"));
  nodeLosses = [];
  const data = "assets/quickstart/train.jsonl";
  for await (const event of finetune({ ...RUN, model: MODEL, data, out: join(folder, "node") }))
    if (event.type === "step") nodeLosses.push(event.loss);
  web = await openPage();
  pageLosses = await web.run(
    `globalThis.mos = await openWeb(options);
    globalThis.model = await mos.loadModel("/assets/tiny-english/");
    const text = await (await fetch("/assets/quickstart/train.jsonl")).text();
    const losses = [];
    const data = [new File([text], "train.jsonl")];
    for await (const event of mos.finetune({ ...argument, model, data, out: "page" }))
      if (event.type === "step") losses.push(event.loss);
    return losses;`,
    RUN,
  );
});
afterAll(async () => {
  await web?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

/** The greedy answer of an adapter in the page. */
const askPage = (adapter: string): Promise<string> =>
  web.run(
    `let text = "";
    for await (const event of mos.generate(model, argument.question, { ...argument.answer, adapter: argument.adapter }))
      if ("text" in event) text += event.text;
    return text;`,
    { question: QUESTION, answer: ANSWER, adapter },
  );

async function askNode(adapter: string): Promise<string> {
  let text = "";
  for await (const event of generate(MODEL, QUESTION, { ...ANSWER, adapter }))
    if (event.type === "token" || event.type === "finish") text += event.text;
  return text;
}

/** The folder that the page exports, unpacked. */
async function unpack(name: string): Promise<string> {
  const base64: string = await web.run(
    `const bytes = new Uint8Array(await (await mos.exportAdapter(argument)).arrayBuffer());
    return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));`,
    name,
  );
  for (const { name: file, bytes } of readTar(Buffer.from(base64, "base64"))) {
    await mkdir(join(folder, file, ".."), { recursive: true });
    await writeFile(join(folder, file), bytes);
  }
  return join(folder, name);
}

test("60 updates have Node's losses", () => {
  expect(pageLosses).toHaveLength(60);
  const differences = pageLosses.map((loss, i) => Math.abs(loss - (nodeLosses[i] ?? Number.NaN)));
  expect(Math.max(...differences)).toBeLessThan(TOLERANCE);
});

test("the adapter of the page has Node's numbers, and both give one answer, wherever it is read", async () => {
  const unpacked = await unpack("page");
  const shapes = toLayerShapes(await readModelConfig(MODEL));
  const { fingerprint, identity } = JSON.parse(await readFile(join(folder, "node/run.json"), "utf8"));
  const [ours, theirs] = await Promise.all(
    [join(folder, "node"), unpacked].map((path) => loadAdapter(path, { shapes, fingerprint, identity })),
  );
  expect(theirs!.config).toEqual(ours!.config);
  expect([...theirs!.tensors.keys()]).toEqual([...ours!.tensors.keys()]);
  for (const [name, { data }] of ours!.tensors) {
    const other = theirs!.tensors.get(name)!.data;
    const worst = Array.from(data).reduce((most, x, i) => Math.max(most, Math.abs(x - other[i]!)), 0);
    expect(worst, name).toBeLessThan(TOLERANCE);
  }
  const files = await Promise.all(
    ["node", "page"].map((name) => readFile(join(folder, name, "adapter_config.json"), "utf8")),
  );
  expect(JSON.parse(files[1]!)).toEqual(JSON.parse(files[0]!));
  const answer = await askNode(join(folder, "node"));
  expect(answer).toContain("Ahoy");
  expect(await askNode(unpacked)).toBe(answer);
  expect(await askPage("page")).toBe(answer);
});

test("the page reads Node's folder", async () => {
  const names = ["adapter_config.json", "adapter_model.safetensors", "run.json"];
  const entries = await Promise.all(
    names.map(async (file) => ({
      name: `node/${file}`,
      bytes: new Uint8Array(await readFile(join(folder, "node", file))),
    })),
  );
  const archive = Buffer.concat(tarParts(entries)).toString("base64");
  const listed: readonly { name: string }[] = await web.run(
    `const bytes = Uint8Array.from(atob(argument), (letter) => letter.charCodeAt(0));
    await mos.importAdapter(new Blob([bytes]));
    return (await mos.list()).adapters;`,
    archive,
  );
  expect(listed.map(({ name }) => name)).toEqual(["node", "page"]);
  expect(await askPage("node")).toBe(await askNode(join(folder, "node")));
});

test("a server takes the form of an adapter", async () => {
  const parts: readonly (readonly [string, string])[] = await web.run(
    `const form = await mos.adapterForm("page");
    return Promise.all(Array.from(form, async ([name, part]) => [name, typeof part === "string" ? part : part.name]));`,
  );
  expect(parts).toEqual([
    ["name", "page"],
    ["adapter_config", "adapter_config.json"],
    ["adapter_model", "adapter_model.safetensors"],
  ]);
});

test("nothing is asked for but code, WebAssembly and the given files", () => {
  const allowed = /^\/($|favicon\.ico$|mos\/(index|worker)\.js$|runtime\/ort[\w.-]+\.(mjs|wasm)$|assets\/)/;
  expect(web.requests.filter((path) => !allowed.test(path))).toEqual([]);
});
