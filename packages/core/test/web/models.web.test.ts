// Where models come from and where they go: the Hub, addresses, and the space that a browser gives.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openPage } from "./page.ts";

const MODEL = join(import.meta.dirname, "../../../mos/assets/tiny-english");
const COMMIT = "0123456789abcdef0123456789abcdef01234567";
/** What the browser says of a connection that breaks, or of an answer that is an error. */
const BROKEN = /^Failed to load resource/;

/** A hub below /hub/ with one model, whose weights arrive in part once for each number in `cuts`. */
function fakeHub(
  cuts: number[],
  digest = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex"),
) {
  const seen: { readonly path: string; readonly range: string | undefined }[] = [];
  const files = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors", "README.md"];
  const read = (path: string): Promise<Buffer> =>
    path === "README.md" ? Promise.resolve(Buffer.from("# Tiny")) : readFile(join(MODEL, path));
  const entry = async (path: string) => {
    const bytes = await read(path);
    const git = createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
    const size = bytes.length;
    const lfs = path.endsWith(".safetensors") ? { lfs: { oid: digest(bytes), size, pointerSize: 130 } } : {};
    return { type: "file", path, size, oid: git, ...lfs };
  };
  const send = (response: ServerResponse, value: unknown): void =>
    void response.setHeader("content-type", "application/json").end(JSON.stringify(value));
  async function sendFile(file: string, range: string | undefined, response: ServerResponse): Promise<void> {
    const bytes = await read(file);
    const from = Number(/^bytes=(\d+)-/.exec(range ?? "")?.[1] ?? 0);
    response.setHeader("content-length", bytes.length - from);
    if (from > 0) response.setHeader("content-range", `bytes ${from}-${bytes.length - 1}/${bytes.length}`);
    response.writeHead(from > 0 ? 206 : 200);
    const cut = file.endsWith(".safetensors") ? cuts.shift() : undefined;
    if (cut === undefined) response.end(bytes.subarray(from));
    else response.write(bytes.subarray(from, from + cut), () => setTimeout(() => response.destroy(), 500));
  }
  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? "").replace(/\?.*/, "");
    const { range } = request.headers;
    seen.push({ path, range });
    if (path.startsWith("/hub/api/models/org/tiny/revision/"))
      return send(response, { id: "org/tiny", sha: COMMIT });
    if (path === `/hub/api/models/org/tiny/tree/${COMMIT}`)
      return send(response, await Promise.all(files.map(entry)));
    const file = path.replace(`/hub/org/tiny/resolve/${COMMIT}/`, "");
    if (files.includes(file)) return sendFile(file, range, response);
    response.writeHead(404).end();
  }
  return { seen, answer };
}

const OPEN = `globalThis.mos ??= await openWeb(options);`;
const LOAD = `${OPEN}
  const hub = { endpoint: location.origin + "/hub" };
  return mos.loadModel(argument, { hub }).catch(({ code, message }) => code + ": " + message);`;

test("a model of the Hub is downloaded by name, and goes on where it was interrupted", async () => {
  const hub = fakeHub([800_000]);
  const weights = () => hub.seen.filter(({ path }) => path.endsWith(".safetensors"));
  await using web = await openPage({ answer: hub.answer, expected: BROKEN });
  expect(await web.run(LOAD, "org/tiny")).toMatch(/^network: .*model.safetensors/);
  expect(weights().map(({ range }) => range)).toEqual([undefined]);
  const model = await web.run(LOAD, "org/tiny");
  expect(model).toEqual({ name: "org/tiny", bytes: expect.any(Number) });
  expect(weights()[1]?.range).toMatch(/^bytes=\d+-$/);
  expect(Number(/\d+/.exec(weights()[1]?.range ?? ""))).toBeGreaterThan(0);
  // it is kept, and answers
  const asked = hub.seen.length;
  expect(await web.run(LOAD, "org/tiny")).toEqual(model);
  expect(hub.seen.length).toBe(asked);
  const text = await web.run<string>(
    `let text = "";
    for await (const event of mos.generate("org/tiny", "Once upon a time", { maxTokens: 4 }))
      if ("text" in event) text += event.text;
    return text;`,
  );
  expect(text).not.toBe("");
  expect(await web.run(LOAD, "org/none")).toMatch(/^not_found: there is no model org\/none at /);
});

test("a file with another digest is refused, and not kept", async () => {
  const hub = fakeHub([], () => "0".repeat(64));
  await using web = await openPage({ answer: hub.answer });
  expect(await web.run(LOAD, "org/tiny")).toMatch(
    /^network: .*model.safetensors.* has the sha256 [0-9a-f]{64}, not 0+;/,
  );
  expect(await web.run(LOAD, "org/tiny")).toMatch(/^network: /);
  expect(hub.seen.every(({ range }) => range === undefined)).toBe(true);
});

test("where the space is used up, an error says what can be removed, the largest first", async () => {
  await using web = await openPage();
  await web.setQuota(4_000_000);
  const load = `${OPEN}
    const name = argument;
    return mos.loadModel("/assets/tiny-english/", { name }).then(() => "kept", ({ code, message }) => code + ": " + message);`;
  expect(await web.run(load, "one")).toBe("kept");
  const message = await web.run<string>(load, "two");
  expect(message).toMatch(/^storage: the browser's storage for this site is full \(\d\.\d+ MB\): /);
  expect(message).toMatch(/removeModel\("one"\) frees 2\.\d+ MB, removeModel\("two"\) frees /);
  await web.run(`await mos.removeModel("one");`);
  expect(await web.run(load, "two")).toBe("kept");
});
