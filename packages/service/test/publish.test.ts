// Folders of published models follow the table, also in a folder that another version filled.
import { access, mkdir, mkdtemp, readdir, readFile, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeFolderAtomic } from "mixture-of-shards-core/files";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Files } from "#objects";
import { openPeftFolder, openPublisher } from "../src/publish.ts";

const MODEL = "ft:tiny:acme@example.com:support:12345678";
const CHECKPOINT = `${MODEL}:ckpt-step-3`;
const folderPath = (name: string): string => name.replaceAll(":", "%3A");

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-publish-"));
});
afterEach(() => rm(folder, { recursive: true }));

const open = (
  published: ReadonlyMap<string, Files>,
  more: Partial<Parameters<typeof openPublisher>[1]> = {},
) =>
  openPublisher(folder, {
    ...more,
    models: { published: async () => published, files: async (name) => published.get(name) },
    write: (_files, path) => writeFolderAtomic(path, async () => undefined),
    onError: (_name, error) => {
      throw error;
    },
  });

test("no folder of a model has a name that Windows cannot have", async () => {
  const published = new Map<string, Files>([[MODEL, {}]]);
  const publisher = await open(published);
  await publisher.sync();
  published.set(CHECKPOINT, {});
  expect(await publisher.fetch(CHECKPOINT)).toBe(true);
  expect((await readdir(folder)).sort()).toEqual([MODEL, CHECKPOINT].map(folderPath));
  await publisher.remove(MODEL);
  expect(await readdir(folder)).toEqual([folderPath(CHECKPOINT)]);
});

test("folders named by a version before, and those of models that are gone, are removed; others stay", async () => {
  const own = ["notes", "50%", "a:b", "plain"];
  const old = [MODEL, CHECKPOINT, folderPath("ft:tiny:acme:gone:1"), "ft:tiny:acme:gone:2"];
  for (const name of [...own, ...old]) await mkdir(join(folder, name));
  const publisher = await open(new Map([[MODEL, {}]]));
  await publisher.sync();
  expect((await readdir(folder)).sort()).toEqual([...own, folderPath(MODEL)].sort());
});

test("models on demand come when they are fetched, and leave where they do not fit and are not in use", async () => {
  const other = "ft:tiny:acme:other:2";
  const published = new Map<string, Files>([
    [MODEL, {}],
    [other, {}],
  ]);
  let fits = true;
  const there = async () => (await readdir(folder)).sort();
  const isOneLeft = async () => fits || (await there()).length <= 1;
  const publisher = await open(published, { onDemand: { fits: isOneLeft } });
  vi.useFakeTimers({ toFake: ["performance"] });
  try {
    await publisher.sync();
    expect(await there()).toEqual([]);
    for (const name of [MODEL, other]) expect(await publisher.fetch(name)).toBe(true);
    fits = false;
    await publisher.sync();
    expect(await there()).toHaveLength(2); // requests may still read them
    vi.advanceTimersByTime(700_000);
    publisher.use(MODEL);
    await publisher.sync();
    expect(await there()).toEqual([folderPath(MODEL)]);
    expect(await publisher.fetch(other)).toBe(true);
    published.delete(MODEL);
    await publisher.sync();
    expect(await there()).toEqual([folderPath(other)]);
  } finally {
    vi.useRealTimers();
  }
});

test("a folder of models that is not there is named, and not made again", async () => {
  const published = new Map<string, Files>([[MODEL, {}]]);
  const publisher = await open(published);
  await publisher.check();
  await rename(folder, `${folder}.away`);
  const away = {
    code: "storage",
    message: `${folder}: the folder of models is missing; remount or restore it`,
  };
  for (const work of [() => publisher.check(), () => publisher.fetch(MODEL)])
    await expect(work()).rejects.toMatchObject(away);
  await expect(access(folder)).rejects.toMatchObject({ code: "ENOENT" });
  await rename(`${folder}.away`, folder);
  await publisher.check();
  expect(await publisher.fetch(MODEL)).toBe(true);
});

test("servers of the exports unload what was deleted, and are told again where they did not answer", async () => {
  const old = "ft--tiny--acme--support--12345678";
  for (const name of [old, "notes", "ft--mine"]) await mkdir(join(folder, name));
  const asked: string[] = [];
  const warnings: object[] = [];
  const peft = await openPeftFolder({
    ...{ folder, baseName: "org/tiny", model: "assets/tiny-english", modelName: "tiny" },
    servers: ["http://a:8000", "http://b:8000/"],
    models: { published: async () => new Map(), files: async () => undefined },
    objects: { restore: async () => undefined },
    signal: new AbortController().signal,
    log: { warn: (fields) => void warnings.push(fields) },
    fetch: async (url, init) => {
      asked.push(`${url} ${init?.body}`);
      if (String(url).startsWith("http://b") && asked.length < 3) throw new TypeError("fetch failed");
      return new Response("", { status: 404 }); // it was not loaded there
    },
  });
  for (let i = 0; i < 3; i++) await peft.sync();
  const call = (host: string) => `http://${host}:8000/v1/unload_lora_adapter {"lora_name":"${old}"}`;
  expect(asked).toEqual([call("a"), call("b"), call("b")]);
  expect(warnings).toMatchObject([{ model: old, url: "http://b:8000/" }]);
  expect((await readdir(folder)).sort()).toEqual(["ft--mine", "manifest.json", "notes"]);
  // also where the last model was deleted while the service was down
  expect(JSON.parse(await readFile(join(folder, "manifest.json"), "utf8"))).toEqual([]);
});

test("a server that does not answer is asked once in a round, and the list does not wait for it", async () => {
  for (const name of ["ft--tiny--acme--a--1", "ft--tiny--acme--b--2"]) await mkdir(join(folder, name));
  const asked: string[] = [];
  const ending = new AbortController();
  const peft = await openPeftFolder({
    ...{ folder, baseName: "org/tiny", model: "assets/tiny-english", modelName: "tiny" },
    servers: ["http://away", "http://there"],
    models: { published: async () => new Map(), files: async () => undefined },
    objects: { restore: async () => undefined },
    signal: ending.signal,
    log: { warn: () => undefined },
    fetch: async (url, init) => {
      asked.push(new URL(String(url)).host);
      if (String(url).startsWith("http://there")) return new Response("");
      return await new Promise((_, reject) => {
        init?.signal?.addEventListener("abort", () => reject(init.signal?.reason));
      });
    },
  });
  const syncing = peft.sync();
  await vi.waitFor(() => expect(asked.toSorted()).toEqual(["away", "there", "there"]));
  await access(join(folder, "manifest.json"));
  ending.abort();
  await syncing;
  expect(asked).toHaveLength(3);
});
