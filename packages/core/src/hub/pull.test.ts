import { createHash } from "node:crypto";
import {
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  symlink,
  truncate,
  writeFile,
} from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { resolveCached } from "./cache.ts";
import { type PullEvent, type PullOptions, pull } from "./pull.ts";

const COMMIT = "0123456789abcdef0123456789abcdef01234567";
const WEIGHTS = Buffer.alloc(5_000_000, "weights and more ");
const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
const gitSha1 = (bytes: Buffer) =>
  createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");

let hub: FakeHub;
let cacheFolder: string;
let slept: number[];

beforeEach(async () => {
  hub = await FakeHub.start();
  cacheFolder = await mkdtemp(join(tmpdir(), "hub-"));
  slept = [];
});
afterEach(async () => {
  await hub.stop();
  await rm(cacheFolder, { recursive: true, force: true });
});

async function run(repository = "org/name", options: Partial<PullOptions> = {}) {
  const events: PullEvent[] = [];
  const sleep = async (milliseconds: number) => void slept.push(milliseconds);
  for await (const event of pull(repository, { cacheFolder, endpoint: hub.endpoint, sleep, ...options })) {
    events.push(event);
  }
  const last = events.at(-1);
  if (last?.type !== "finish") throw new Error("a pull ends with finish");
  return { events, model: last.model };
}
const failure = (code: string, message: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) });
const blobs = () => readdir(join(cacheFolder, "models--org--name", "blobs")).catch((): string[] => []);
const partials = async () => (await blobs()).filter((name) => name.endsWith(".partial"));
const resolves = () => hub.requests.filter(({ path }) => path.startsWith("/org/"));
const fetched = () => hub.requests.filter(({ cdn }) => cdn);

test("downloads a model's files in the layout of huggingface_hub, and finds them again offline", async () => {
  const { events, model } = await run();
  const root = join(cacheFolder, "models--org--name");
  const folder = join(root, "snapshots", COMMIT);
  expect(model).toMatchObject({ kind: "folder", repository: "org/name", commit: COMMIT, path: folder });
  expect((await readdir(folder)).sort()).toEqual(["config.json", "model.safetensors", "tokenizer.json"]);
  expect((await readFile(join(folder, "model.safetensors"))).equals(WEIGHTS)).toBe(true);
  expect(await readlink(join(folder, "model.safetensors"))).toBe(`../../blobs/${sha256(WEIGHTS)}`);
  expect(await readFile(join(root, "refs", "main"), "utf8")).toBe(COMMIT);
  expect((await blobs()).some((name) => name.includes("partial"))).toBe(false);

  const listing = events[0];
  const progress = events.filter((event) => event.type === "progress");
  expect(listing).toMatchObject({ type: "listing", totalBytes: model.bytes, doneBytes: 0 });
  expect(progress.at(-1)).toMatchObject({ doneBytes: model.bytes, totalBytes: model.bytes });
  const counts = progress.map(({ doneBytes }) => doneBytes);
  expect(counts).toEqual(counts.toSorted((a, b) => a - b));

  await hub.stop();
  const cached = await resolveCached("org/name", { cacheFolder });
  expect({ ...cached, files: undefined }).toEqual({ ...model, files: undefined });
  expect(cached?.files.toSorted((a, b) => a.path.localeCompare(b.path))).toEqual(
    model.files.toSorted((a, b) => a.path.localeCompare(b.path)),
  );
  expect(await resolveCached(`org/name@${COMMIT}`, { cacheFolder })).toMatchObject({ path: folder });
  expect(await resolveCached("org/name@other", { cacheFolder })).toBeUndefined();
  expect(await resolveCached("org/unknown", { cacheFolder })).toBeUndefined();
});

test("does not download cached files again", async () => {
  await run();
  hub.requests.length = 0;
  const { events } = await run();
  expect(fetched()).toEqual([]);
  expect(resolves()).toEqual([]);
  expect(events.filter((event) => event.type === "file").map(({ state }) => state)).toEqual(
    Array(3).fill("cached"),
  );
});

test("an incomplete snapshot in the cache is not a model", async () => {
  const { model } = await run();
  await rm(join(model.path, "model.safetensors"));
  expect(await resolveCached("org/name", { cacheFolder })).toBeUndefined();
  hub.requests.length = 0;
  await run(); // the blob is still cached: only its link is made again
  expect(fetched()).toEqual([]);
  expect(await resolveCached("org/name", { cacheFolder })).toMatchObject({ path: model.path });
});

test("finds what Python downloaded and fetches a broken blob again", async () => {
  const root = join(cacheFolder, "models--org--name");
  const blob = join(root, "blobs", sha256(WEIGHTS));
  await mkdir(join(root, "blobs"), { recursive: true });
  await mkdir(join(root, "snapshots", COMMIT), { recursive: true });
  await writeFile(blob, WEIGHTS);
  await symlink(`../../blobs/${sha256(WEIGHTS)}`, join(root, "snapshots", COMMIT, "model.safetensors"));
  await run();
  expect(fetched()).toEqual([]);
  await truncate(blob, 10);
  await run();
  expect(fetched()).toHaveLength(1);
  expect((await readFile(blob)).equals(WEIGHTS)).toBe(true);
});

test("resumes within the run after a lost connection", async () => {
  hub.cutAfter = [1_000_000, 2_000_000];
  const { events } = await run();
  expect(fetched().map(({ range }) => range)).toEqual([
    undefined,
    expect.stringMatching(/^bytes=\d+-$/),
    expect.stringMatching(/^bytes=\d+-$/),
  ]);
  expect(Number(/\d+/.exec(fetched()[2]!.range!)![0])).toBeGreaterThan(1_000_000);
  expect(events.filter((event) => event.type === "retry")).toHaveLength(2);
  expect(slept).toEqual([1000, 1000]); // both attempts got further: no back-off
});

test("a cancelled download is resumed by the next run", async () => {
  const controller = new AbortController();
  const stopped = (async () => {
    const options = { cacheFolder, endpoint: hub.endpoint, signal: controller.signal };
    for await (const event of pull("org/name", options)) {
      if (event.type === "progress" && event.fileDoneBytes > 1_000_000) controller.abort();
    }
  })();
  await expect(stopped).rejects.toThrowError(
    failure("cancelled", /model\.safetensors; the same command resumes/),
  );
  expect(await partials()).toHaveLength(1);
  expect(await resolveCached("org/name", { cacheFolder })).toBeUndefined();
  hub.requests.length = 0;
  const { events } = await run();
  expect(fetched().map(({ range }) => range)).toEqual([expect.stringMatching(/^bytes=[1-9]\d{6,}-$/)]);
  expect(events[0]).toMatchObject({ type: "listing", doneBytes: expect.any(Number) });
  expect(events[0]!.type === "listing" && events[0]!.doneBytes).toBeGreaterThan(1_000_000);
});

test("leaving the loop keeps the bytes received so far", async () => {
  for await (const event of pull("org/name", { cacheFolder, endpoint: hub.endpoint })) {
    if (event.type === "progress" && event.fileDoneBytes > 1_000_000) break;
  }
  expect(await partials()).toHaveLength(1);
  await run();
  expect(await partials()).toEqual([]);
});

test("starts over when the ETag has changed", async () => {
  hub.linked = false;
  hub.etag = '"one"';
  hub.cutAfter = [1_000_000];
  await expect(run("org/name", { retries: 0 })).rejects.toThrowError(failure("network", /closed|reached/));
  expect(await partials()).toHaveLength(1);
  hub.etag = '"two"';
  hub.requests.length = 0;
  const { model } = await run();
  expect(fetched().map(({ range }) => range)).toEqual([expect.stringMatching(/^bytes=/), undefined]);
  expect((await readFile(join(model.path, "model.safetensors"))).equals(WEIGHTS)).toBe(true);
});

test("accepts a whole file in answer to a range request", async () => {
  hub.cutAfter = [1_000_000];
  hub.ranges = false;
  const { model } = await run();
  expect((await readFile(join(model.path, "model.safetensors"))).equals(WEIGHTS)).toBe(true);
});

test("refuses a file with a wrong digest, and removes it", async () => {
  hub.content.set("model.safetensors", Buffer.alloc(WEIGHTS.length, "others"));
  await expect(run()).rejects.toThrowError(
    failure("network", /model\.safetensors: the downloaded file has the sha256/),
  );
  expect((await blobs()).filter((name) => name.startsWith(sha256(WEIGHTS)))).toEqual([]);
});

test("small files are checked against git's digest", async () => {
  hub.content.set("config.json", Buffer.from('{"model_type":"other"'));
  await expect(run()).rejects.toThrowError(
    failure("network", /closed the connection after 21 B of 22 B of config/),
  );
  hub.content.set("config.json", Buffer.from('{"model_type":"lLama"}'));
  await expect(run()).rejects.toThrowError(
    failure("network", /config\.json: the downloaded file has the git-sha1/),
  );
});

test("a partial file with wrong bytes is downloaded once more from the start", async () => {
  const root = join(cacheFolder, "models--org--name", "blobs");
  await mkdir(root, { recursive: true });
  await writeFile(join(root, `${sha256(WEIGHTS)}.partial`), Buffer.alloc(1000, "x"));
  const { model } = await run();
  expect((await readFile(join(model.path, "model.safetensors"))).equals(WEIGHTS)).toBe(true);
  expect(fetched().map(({ range }) => range)).toEqual(["bytes=1000-", undefined]);
});

test("two runs at the same time leave one complete file", async () => {
  const [first, second] = await Promise.all([run(), run()]);
  expect(second.model).toEqual(first.model);
  expect((await readFile(join(first.model.path, "model.safetensors"))).equals(WEIGHTS)).toBe(true);
  expect(await partials()).toEqual([]);
});

test("a partial file that is too long is discarded", async () => {
  const root = join(cacheFolder, "models--org--name", "blobs");
  await mkdir(root, { recursive: true });
  await writeFile(join(root, `${sha256(WEIGHTS)}.partial`), Buffer.alloc(WEIGHTS.length + 9, "x"));
  const { model } = await run();
  expect((await readFile(join(model.path, "model.safetensors"))).equals(WEIGHTS)).toBe(true);
});

test("stops a server that sends more than it announced", async () => {
  hub.content.set("model.safetensors", Buffer.concat([WEIGHTS, WEIGHTS]));
  await expect(run()).rejects.toThrowError(failure("network", /more than the 5\.00 MB/));
});

test("the token goes to the endpoint and not to where it redirects", async () => {
  await run("org/name", { token: "secret" });
  for (const { cdn, authorization, path } of hub.requests) {
    expect(authorization, path).toBe(cdn ? undefined : "Bearer secret");
  }
  expect(fetched()).toHaveLength(1);
});

test("the token does not follow a listing to another host", async () => {
  hub.nextPage = (cdn) => `${cdn}/api/models/org/name/tree/${COMMIT}?cursor=1`;
  await run("org/name", { token: "secret" });
  const foreign = hub.requests.filter(({ cdn }) => cdn);
  expect(foreign.some(({ path }) => path.startsWith("/api/"))).toBe(true);
  for (const { authorization } of foreign) expect(authorization).toBeUndefined();
});

test("a GGUF is chosen by name", async () => {
  hub.content.clear();
  hub.put("a.Q4_1.gguf", WEIGHTS, "lfs");
  hub.put("b/a.Q8_0.gguf", Buffer.from("eight bits"), "lfs");
  await expect(run()).rejects.toThrowError(
    failure("bad_option", /2 GGUF files; name one of them:\n {2}org\/name:a\.Q4_1/),
  );
  const { model } = await run("org/name:b/a.Q8_0.gguf");
  expect(model).toMatchObject({ kind: "gguf", bytes: 10 });
  expect(model.path).toBe(join(cacheFolder, "models--org--name", "snapshots", COMMIT, "b", "a.Q8_0.gguf"));
  expect(await readFile(model.path, "utf8")).toBe("eight bits");
  expect(await resolveCached("org/name:b/a.Q8_0.gguf", { cacheFolder })).toEqual(model);
  expect(await resolveCached("org/name:a.Q4_1.gguf", { cacheFolder })).toBeUndefined();
  expect(await resolveCached("org/name", { cacheFolder })).toMatchObject({ path: model.path }); // the only one here
});

test.each([
  "../../evil/config.json",
  "/etc/config.json",
  "a\\..\\model.safetensors",
  "model\u0007.gguf",
  "C:/x.gguf",
])("refuses a listing with %j", async (path) => {
  hub.put(path, Buffer.from("evil"), "git");
  await expect(run()).rejects.toThrowError(failure("bad_model", /could lead out of its folder; nothing was/));
  expect(await readdir(cacheFolder)).toEqual([]);
});

test.each([
  {
    status: 401,
    code: "GatedRepo",
    token: undefined,
    kind: "network",
    message: /gated; accept the licence at http.*\/org\/name, then set HF_TOKEN/,
  },
  {
    status: 403,
    code: "GatedRepo",
    token: "t",
    kind: "network",
    message: /the token's account has no access/,
  },
  {
    status: 401,
    code: "RepoNotFound",
    token: undefined,
    kind: "network",
    message: /does not exist, or is private or gated.*set HF_TOKEN/,
  },
  { status: 401, code: undefined, token: "t", kind: "network", message: /refuses the token/ },
  {
    status: 404,
    code: "RepoNotFound",
    token: undefined,
    kind: "not_found",
    message: /no model org\/name at http.*spelling/,
  },
  { status: 404, code: "RevisionNotFound", token: undefined, kind: "not_found", message: /no revision main/ },
  { status: 400, code: undefined, token: undefined, kind: "network", message: /answered 400 for org\/name/ },
])("$status $code says what to do", async ({ status, code, token, kind, message }) => {
  hub.refuse = { status, count: Infinity, on: "/api/", ...(code && { code }) };
  await expect(run("org/name", token === undefined ? {} : { token })).rejects.toThrowError(
    failure(kind, message),
  );
  expect(slept).toEqual([]);
});

test("a gated repository may also refuse only its files", async () => {
  hub.refuse = { status: 403, code: "GatedRepo", count: Infinity, on: "/org/" };
  await expect(run()).rejects.toThrowError(failure("network", /org\/name is gated; accept the licence/));
});

test("waits and retries when the server is busy", async () => {
  hub.refuse = { status: 503, count: 2, on: "/api/" };
  await run();
  expect(slept).toEqual([1000, 2000]);
});

test("waits as long as the server asks, and gives up after the last attempt", async () => {
  hub.refuse = { status: 429, count: Infinity, on: "/org/", retryAfter: 7 };
  await expect(run("org/name", { retries: 3 })).rejects.toThrowError(
    failure("network", /limits.*429.*config\.json.*HF_TOKEN/),
  );
  expect(slept).toEqual([7000, 7000, 7000]);
});

test("an unreachable hub is a network error", async () => {
  const { endpoint } = hub;
  await hub.stop();
  await expect(run("org/name", { endpoint })).rejects.toThrowError(
    failure("network", /cannot be reached \(ECONNREFUSED\)/),
  );
});

test("an answer that no hub gives is a network error", async () => {
  const answer = (body: string) =>
    vi.fn(async () => new Response(body, { headers: { "content-type": "text/html" } }));
  await expect(run("org/name", { fetch: answer("<html>") })).rejects.toThrowError(
    failure("network", /does not answer as a Hugging Face Hub/),
  );
  await expect(run("org/name", { fetch: answer("{}") })).rejects.toThrowError(
    failure("network", /does not answer as a Hugging Face Hub/),
  );
  hub.statSize = () => -1;
  await expect(run()).rejects.toThrowError(failure("network", /size/));
});

test("a listing without end is refused", async () => {
  const link = `<${hub.endpoint}/api/models/org/name/tree/${COMMIT}?cursor=again>; rel="next"`;
  const pages = async (url: string | URL | Request, init?: RequestInit) =>
    String(url).includes("/tree/") ? new Response("[]", { headers: { link } }) : fetch(url, init);
  await expect(run("org/name", { fetch: pages })).rejects.toThrowError(
    failure("network", /returned an endless list/),
  );
});

test("redirects in a circle, or to other protocols than http, are refused", async () => {
  hub.redirect = (own) => `${own}/org/name/resolve/${COMMIT}/model.safetensors`;
  await expect(run()).rejects.toThrowError(failure("network", /redirects more than/));
  hub.redirect = () => "file:///etc/passwd";
  await expect(run()).rejects.toThrowError(failure("network", /not safe to follow/));
});

test("a silent server is timed out and retried", async () => {
  hub.silent = 1;
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  onTestFinished(() => void vi.useRealTimers());
  const running = run();
  await expect.poll(() => hub.silent).toBe(0);
  vi.advanceTimersByTime(60_000);
  await running;
  expect(slept).toEqual([1000]);
});

test("checks free space before it starts", async () => {
  await expect(run("org/name", { freeBytes: async () => 1_000_000 })).rejects.toThrowError(
    failure("storage", /the rest of the download takes 5\.00 MB, but its disk has 1\.00 MB free/),
  );
  expect(resolves()).toEqual([]);
});

test("a cache folder that cannot be made is a storage error", async () => {
  const file = join(cacheFolder, "file");
  await writeFile(file, "");
  await expect(run("org/name", { cacheFolder: file })).rejects.toThrowError(
    failure("storage", /file\/.*: a part of this path is a file/),
  );
});

test("checks options before any request", async () => {
  await expect(run("name")).rejects.toThrowError(
    failure("bad_option", /is not the name of a Hub repository/),
  );
  await expect(run("org/name", { endpoint: "hub" })).rejects.toThrowError(
    failure("bad_option", /is not a valid Hub endpoint/),
  );
  await expect(run("org/name", { token: "a b" })).rejects.toThrowError(failure("bad_option", /Hub token/));
  await expect(run("org/name", { signal: AbortSignal.abort() })).rejects.toThrowError(
    failure("cancelled", /org\/name/),
  );
  expect(hub.requests).toEqual([]);
});

interface Seen {
  readonly path: string;
  readonly cdn: boolean;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
}

/** Answers as the hub does: an API, `resolve` that redirects big files, and a CDN on another port with ranges. */
class FakeHub {
  readonly requests: Seen[] = [];
  readonly content = new Map<string, Buffer>();
  readonly #kinds = new Map<
    string,
    { readonly kind: "lfs" | "git"; readonly digest: string; readonly size: number }
  >();
  /** The CDN closes its first connections after so many bytes. */
  cutAfter: number[] = [];
  /** The CDN sends nothing at all on its first connections. */
  silent = 0;
  ranges = true;
  linked = true;
  etag = '"cdn"';
  refuse: { status: number; code?: string; count: number; on: string; retryAfter?: number } | undefined;
  nextPage: ((cdn: string, own: string) => string) | undefined;
  redirect: ((own: string) => string) | undefined;
  statSize = (size: number) => size;
  readonly #servers: readonly [Server, Server];

  private constructor() {
    this.#servers = [
      createServer((request, response) => this.#answer(request, response, false)),
      createServer((request, response) => this.#answer(request, response, true)),
    ];
    this.put("config.json", Buffer.from('{"model_type":"llama"}'), "git");
    this.put("tokenizer.json", Buffer.from("{}"), "git");
    this.put("model.safetensors", WEIGHTS, "lfs");
    this.put("pytorch_model.bin", Buffer.from("pickle"), "lfs");
  }

  static async start(): Promise<FakeHub> {
    const hub = new FakeHub();
    for (const server of hub.#servers) await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    hub.endpoint = hub.#address(0);
    return hub;
  }

  endpoint = "";

  async stop(): Promise<void> {
    for (const server of this.#servers) {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    }
  }

  put(path: string, bytes: Buffer, kind: "lfs" | "git"): void {
    this.content.set(path, bytes);
    const digest = kind === "lfs" ? sha256(bytes) : gitSha1(bytes);
    this.#kinds.set(path, { kind, digest, size: bytes.length });
  }

  #address(index: 0 | 1): string {
    return `http://127.0.0.1:${(this.#servers[index].address() as AddressInfo).port}`;
  }

  #answer(request: IncomingMessage, response: ServerResponse, cdn: boolean): void {
    const path = decodeURIComponent(request.url!.split("?")[0]!);
    const { range, authorization } = request.headers;
    this.requests.push({ path, cdn, range, authorization });
    if (this.refuse !== undefined && path.startsWith(this.refuse.on) && this.refuse.count-- > 0) {
      const { status, code, retryAfter } = this.refuse;
      if (code !== undefined) response.setHeader("x-error-code", code);
      if (retryAfter !== undefined) response.setHeader("retry-after", retryAfter);
      response.writeHead(status).end("no");
    } else if (path.startsWith("/api/models/org/name/revision/"))
      json(response, { id: "org/name", sha: COMMIT });
    else if (path === `/api/models/org/name/tree/${COMMIT}`) this.#tree(request, response);
    else if (path.startsWith(`/org/name/resolve/${COMMIT}/`))
      this.#resolve(path.split("/").slice(5).join("/"), response);
    else if (cdn) this.#serve(path.slice(1), range, response);
    else response.writeHead(404, { "x-error-code": "RepoNotFound" }).end();
  }

  #tree(request: IncomingMessage, response: ServerResponse): void {
    const second = request.url!.includes("cursor=");
    if (this.nextPage !== undefined && !second) {
      response.setHeader("link", `<${this.nextPage(this.#address(1), this.endpoint)}>; rel="next"`);
    }
    const entries = [...this.content.keys()].map((path) => {
      const { kind, digest, size } = this.#kinds.get(path)!;
      const base = {
        type: "file",
        path,
        size: this.statSize(size),
        oid: kind === "git" ? digest : "f".repeat(40),
      };
      return kind === "git"
        ? base
        : { ...base, lfs: { oid: digest, size: this.statSize(size), pointerSize: 130 } };
    });
    json(
      response,
      second ? [] : [...entries, { type: "directory", path: "onnx", size: 0, oid: "a".repeat(40) }],
    );
  }

  #resolve(path: string, response: ServerResponse): void {
    const { kind, digest, size } = this.#kinds.get(path)!;
    response.setHeader("x-repo-commit", COMMIT);
    if (kind === "git") {
      response.setHeader("etag", `"${digest}"`).end(this.content.get(path));
      return;
    }
    if (this.linked) response.setHeader("x-linked-etag", `"${digest}"`).setHeader("x-linked-size", size);
    const location = this.redirect?.(this.endpoint) ?? `${this.#address(1)}/${path}`;
    response.writeHead(302, { location }).end("Found");
  }

  #serve(path: string, range: string | undefined, response: ServerResponse): void {
    const bytes = this.content.get(path)!;
    const from = this.ranges ? Number(/^bytes=(\d+)-/.exec(range ?? "")?.[1] ?? 0) : 0;
    if (this.silent-- > 0) return;
    response.setHeader("etag", this.etag).setHeader("content-length", bytes.length - from);
    if (from > 0) response.setHeader("content-range", `bytes ${from}-${bytes.length - 1}/${bytes.length}`);
    response.writeHead(from > 0 ? 206 : 200);
    const cut = this.cutAfter.shift();
    if (cut === undefined) response.end(bytes.subarray(from));
    else response.write(bytes.subarray(from, from + cut), () => response.socket?.end());
  }
}

function json(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
}
