import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { WritableHub } from "../../../../test/writable-hub.ts";
import { type PushEvent, type PushedFile, type PushOptions, push } from "./push.ts";

const TENSORS = Buffer.alloc(3_000_000, "an adapter's tensors ");

let hub: WritableHub;
let folder: string;
let files: PushedFile[];
beforeEach(async () => {
  hub = await WritableHub.start();
  folder = await mkdtemp(join(tmpdir(), "push-"));
  const tensors = join(folder, "adapter_model.safetensors");
  await writeFile(tensors, TENSORS);
  files = [
    { path: "adapter_config.json", content: new TextEncoder().encode('{"r": 6}') },
    { path: "adapter_model.safetensors", content: tensors },
    { path: "README.md", content: new TextEncoder().encode("made"), isDefault: true },
  ];
});
afterEach(async () => {
  await hub.stop();
  await rm(folder, { recursive: true });
});

async function run(options: Partial<PushOptions> = {}) {
  const events: PushEvent[] = [];
  const settings = {
    endpoint: hub.endpoint,
    token: "hf_write",
    sleep: async () => undefined,
    title: "Upload",
  };
  for await (const event of push(files, "org/name", { ...settings, ...options })) events.push(event);
  const last = events.at(-1);
  if (last?.type !== "finish") throw new Error("a push ends with finish");
  return { events, last };
}
const failure = (code: string, message: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) });

test("makes a repository, and puts the files into one commit", async () => {
  const { events, last } = await run({ private: true });
  expect(events[0]).toEqual({ type: "created", repository: "org/name", private: true });
  expect(hub.isPrivate).toBe(true);
  const { "adapter_model.safetensors": tensors, ...others } = hub.branch("main");
  expect(tensors?.equals(TENSORS)).toBe(true);
  expect(others).toEqual({
    "adapter_config.json": Buffer.from('{"r": 6}'),
    "README.md": Buffer.from("made"),
  });
  expect(last).toMatchObject({ commit: hub.commitOf("main"), revision: "main", unchanged: [] });
  const shares = events.flatMap((event) => (event.type === "upload" ? [event.share] : []));
  expect(shares.at(-1)).toBe(1);
  expect(events.some((event) => event.type === "upload" && event.size === TENSORS.length)).toBe(true);
  // the token goes to the hub, not to the storage that it names
  expect(hub.requests.filter(({ token }) => token !== undefined).length).toBeGreaterThan(5);
  for (const { path, token } of hub.requests) expect(token !== undefined).toBe(!path.startsWith("/lfs/"));
});

test("sends what has changed, and nothing where all is there", async () => {
  await run();
  hub.requests.length = 0;
  expect((await run()).last).toMatchObject({ commit: undefined, sent: [] });
  expect(hub.requests.filter(({ method }) => method !== "GET")).toEqual([]);
  files[0] = { path: "adapter_config.json", content: new TextEncoder().encode('{"r": 8}') };
  const { last } = await run();
  expect(last.sent).toEqual(["adapter_config.json"]);
  expect(last.unchanged).toEqual(["adapter_model.safetensors", "README.md"]);
  expect(hub.requests.filter(({ path }) => path.startsWith("/lfs/"))).toEqual([]);
  expect(hub.branch("main")["adapter_model.safetensors"]?.equals(TENSORS)).toBe(true);
});

test("a card that was edited on the hub stays, and one of the folder replaces it", async () => {
  await run();
  hub.branch("main")["README.md"] = Buffer.from("edited");
  await run();
  expect(hub.branch("main")["README.md"]?.toString()).toBe("edited");
  files[2] = { path: "README.md", content: new TextEncoder().encode("own") };
  await run();
  expect(hub.branch("main")["README.md"]?.toString()).toBe("own");
});

test("a push that was interrupted goes on without sending large files again", async () => {
  hub.refuse = { on: "/api/models/org/name/commit/", status: 500, count: 99 };
  await expect(run({ retries: 1 })).rejects.toThrowError(failure("network", /answered 500/));
  expect(hub.requests.filter(({ path }) => path.startsWith("/lfs/"))).toHaveLength(1);
  hub.refuse = undefined;
  await run();
  expect(hub.requests.filter(({ path }) => path.startsWith("/lfs/"))).toHaveLength(1);
  expect(hub.branch("main")["adapter_model.safetensors"]?.equals(TENSORS)).toBe(true);
});

test("errors of the hub that may pass are waited for", async () => {
  hub.refuse = { on: "/lfs/", status: 503, count: 2 };
  await run();
  expect(hub.branch("main")["adapter_model.safetensors"]?.equals(TENSORS)).toBe(true);
});

test("large files go in parts where the hub asks for that", async () => {
  hub.partBytes = 1_000_000;
  await run();
  expect(hub.requests.filter(({ path }) => path.startsWith("/lfs/"))).toHaveLength(4);
  expect(hub.branch("main")["adapter_model.safetensors"]?.equals(TENSORS)).toBe(true);
});

test("the hub's answer does not decide where large files go", async () => {
  hub.storage = hub.endpoint.replace("127.0.0.1", "localhost");
  await expect(run()).rejects.toThrowError(
    failure("network", /asks for an upload to http:\/\/localhost:\d+, .* pass --upload-host localhost$/),
  );
  expect(hub.requests.some(({ path }) => path.startsWith("/lfs/"))).toBe(false);
  await run({ uploadHosts: ["localhost"] });
  expect(hub.branch("main")["adapter_model.safetensors"]?.equals(TENSORS)).toBe(true);
});

test.each([
  ["https://huggingface.co", "https://cas-server.xethub.hf.co", true],
  ["https://huggingface.co", "https://hf-hub-lfs-us-east-1.s3-accelerate.amazonaws.com", true],
  ["https://huggingface.co", "http://cas-server.xethub.hf.co", false],
  ["https://huggingface.co", "https://evil.example", false],
  ["https://huggingface.co", "https://huggingface.co.evil.example", false],
  ["https://hub.example", "https://storage.hub.example", true],
  ["https://hub.example", "https://cas-server.xethub.hf.co", false],
])("a push to %s uploads to %s: %j", async (endpoint, storage, isSent) => {
  hub.storage = storage;
  const asked: string[] = [];
  const send: typeof fetch = (input, init) => {
    const url = new URL(String(input));
    asked.push(url.origin);
    return fetch(new URL(url.pathname + url.search, hub.endpoint), init);
  };
  await (isSent
    ? run({ endpoint, fetch: send })
    : expect(run({ endpoint, fetch: send })).rejects.toThrow("asks for an upload"));
  expect(asked.includes(storage)).toBe(isSent);
});

test("no redirect takes an upload to another server", async () => {
  const send: typeof fetch = async (input, init) =>
    init?.method === "POST"
      ? new Response(null, { status: 307, headers: { location: "https://evil.example/" } })
      : fetch(input, init);
  await expect(run({ fetch: send })).rejects.toThrowError(
    failure("network", /redirects an upload to https:\/\/evil\.example, where it is not sent/),
  );
});

test("a branch is made where it is missing", async () => {
  await run();
  files[0] = { path: "adapter_config.json", content: new TextEncoder().encode('{"r": 8}') };
  const { last } = await run({ revision: "v2" });
  expect(last.sent).toEqual(["adapter_config.json"]);
  expect(hub.branch("v2")["adapter_config.json"]?.toString()).toBe('{"r": 8}');
  expect(hub.branch("main")["adapter_config.json"]?.toString()).toBe('{"r": 6}');
});

test("what cannot be pushed is named, and nothing is sent", async () => {
  await expect(run({ token: undefined })).rejects.toThrowError(failure("bad_option", /set HF_TOKEN/));
  await expect(run({ token: "hf_read" })).rejects.toThrowError(
    failure("network", /refused the push \(403\): the token may not write to org\/name/),
  );
  await run();
  hub.requests.length = 0;
  await expect(run({ private: true })).rejects.toThrowError(
    failure("bad_option", /exists and is public; push without --private/),
  );
  const stopped = new AbortController();
  stopped.abort();
  await expect(run({ signal: stopped.signal })).rejects.toMatchObject({ code: "cancelled" });
  expect(hub.requests.filter(({ method }) => method !== "GET")).toEqual([]);
});
