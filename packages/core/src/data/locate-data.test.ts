import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { HubSettings } from "#hub";
import { type DatasetHub, startDatasetHub } from "../../../../test/dataset-hub.ts";
import { locateData } from "./locate-data.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-locate-"));
});
afterEach(() => rm(folder, { recursive: true }));

async function locate(names: string | readonly string[], hub?: HubSettings): Promise<readonly string[]> {
  const events = locateData(names, { hub });
  let step = await events.next();
  while (step.done !== true) step = await events.next();
  return step.value;
}

describe("files", () => {
  const make = async (...names: readonly string[]): Promise<void> => {
    for (const name of names) {
      await mkdir(join(folder, name, ".."), { recursive: true });
      await writeFile(join(folder, name), "");
    }
  };

  test("a path is taken as it is, also where it looks like a pattern", async () => {
    await make("[a]*.jsonl");
    const path = join(folder, "[a]*.jsonl");
    expect(await locate(path)).toEqual([path]);
  });

  test("a pattern gives files by the order of their names, and no hidden ones", async () => {
    await make(
      "b.jsonl",
      "B.jsonl",
      "a.jsonl",
      "a.csv",
      ".c.jsonl",
      "more/10.jsonl",
      "more/9.jsonl",
      "more/x.jsonl/y",
    );
    const at = (...names: readonly string[]) => names.map((name) => join(folder, name));
    expect(await locate(join(folder, "*.jsonl"))).toEqual(at("B.jsonl", "a.jsonl", "b.jsonl"));
    expect(await locate(join(folder, "**/*.jsonl"))).toEqual(
      at("B.jsonl", "a.jsonl", "b.jsonl", "more/10.jsonl", "more/9.jsonl"),
    );
    expect(await locate(join(folder, "a.{csv,jsonl}"))).toEqual(at("a.csv", "a.jsonl"));
    const near = relative(process.cwd(), join(folder, "?.csv"));
    expect(await locate(near)).toEqual([relative(process.cwd(), join(folder, "a.csv"))]);
  });

  test("a pattern takes a file once where a link leads back into its folder", async () => {
    await make("a.jsonl");
    await symlink(folder, join(folder, "back"));
    expect(await locate(join(folder, "**/*.jsonl"))).toEqual([join(folder, "a.jsonl")]);
  });

  test("several names keep their order", async () => {
    await make("a.jsonl", "b.csv");
    const [a, b] = [join(folder, "a.jsonl"), join(folder, "b.csv")];
    expect(await locate([b, a])).toEqual([b, a]);
  });

  test("a file that is given twice is refused, also by a pattern or a link", async () => {
    await make("a.jsonl");
    const path = join(folder, "a.jsonl");
    await symlink(path, join(folder, "b.jsonl"));
    const refused = { code: "bad_option", message: expect.stringMatching(/given twice/) };
    await expect(locate([path, path])).rejects.toMatchObject(refused);
    await expect(locate([path, join(folder, "a.*")])).rejects.toMatchObject(refused);
    await expect(locate(join(folder, "*.jsonl"))).rejects.toMatchObject(refused);
  });

  test.each<readonly [string, string, string, RegExp]>([
    ["a folder", ".", "bad_data", /this is a folder; name its files/],
    ["a pattern of nothing", "*.csv", "not_found", /\*\.csv: no file matches/],
    ["a file that is not there", "train.jsonl", "not_found", /train\.jsonl: no such file; give a file/],
  ])("%s", async (_, name, code, message) => {
    await expect(locate(join(folder, name))).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
  });

  test("a missing file is not looked for on the hub, and a data set needs one", async () => {
    await expect(locate("data/none.jsonl")).rejects.toThrow(/no such file; give/);
    const hub = { cacheFolder: join(folder, "no-cache"), endpoint: "http://127.0.0.1:9", offline: true };
    await expect(locate("org/name", hub)).rejects.toThrow(/network access is disabled|offline/);
  });
});

describe("data sets of the hub", () => {
  let hub: DatasetHub;
  let settings: HubSettings;
  beforeEach(async () => {
    hub = await startDatasetHub();
    settings = { cacheFolder: join(folder, "hub"), endpoint: hub.endpoint, offline: false };
  });
  afterEach(() => hub[Symbol.asyncDispose]());

  const contents = async (name: string, change: Partial<HubSettings> = {}): Promise<readonly string[]> => {
    const paths = await locate(name, { ...settings, ...change });
    return Promise.all(paths.map((path) => readFile(path, "utf8")));
  };
  const files = (...names: readonly string[]): Readonly<Record<string, Buffer>> =>
    Object.fromEntries(names.map((name) => [name, Buffer.from(name)]));
  const CONVERTED = "refs/convert/parquet";

  test("the hub's own Parquet files are preferred, and the training split is meant", async () => {
    hub.publish("org/chat", files("README.md", "chats.jsonl"));
    hub.publish(
      "org/chat",
      files("default/train/0001.parquet", "default/train/0000.parquet", "default/test/0000.parquet"),
      CONVERTED,
    );
    const train = ["default/train/0000.parquet", "default/train/0001.parquet"];
    expect(await contents("org/chat")).toEqual(train);
    for (const part of ["train", "default/train", "default"])
      expect(await contents(`org/chat:${part}`)).toEqual(train);
    expect(await contents("org/chat:test")).toEqual(["default/test/0000.parquet"]);
    expect(await contents("org/chat:chats.jsonl")).toEqual(["chats.jsonl"]);
    expect(await contents("org/chat:default/test/0000.parquet")).toEqual(["default/test/0000.parquet"]);
    expect(await contents("org/chat@main")).toEqual(["chats.jsonl"]);
  });

  test("a configuration may be called like a version", async () => {
    hub.publish("org/versions", files("v1.0/train/0000.parquet", "v2.0/train/0000.parquet"), CONVERTED);
    expect(await contents("org/versions:v1.0")).toEqual(["v1.0/train/0000.parquet"]);
  });

  test("without the network what was downloaded is found, and nothing less than all of it", async () => {
    hub.publish("org/chat", files("data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"));
    const found = await contents("org/chat");
    const asked = hub.requests.length;
    expect(await contents("org/chat", { offline: true })).toEqual(found);
    expect(hub.requests).toHaveLength(asked);
    const [path = ""] = await locate("org/chat", settings);
    await rm(path);
    const missing = contents("org/chat", { offline: true });
    await expect(missing).rejects.toThrow(/org\/chat is not in the cache .* network access is disabled/);
    await expect(contents("org/none", { offline: true })).rejects.toMatchObject({ code: "not_found" });
  });

  test.each<readonly [string, readonly string[], readonly string[]]>([
    [
      "shards of Parquet",
      ["data/train-00000-of-00001-0a1b.parquet", "data/test-00000-of-00001.parquet"],
      ["data/train-00000-of-00001-0a1b.parquet"],
    ],
    [
      "JSON Lines by their names",
      ["train.jsonl", "valid.jsonl", "dataset_infos.json", ".hidden.jsonl"],
      ["train.jsonl"],
    ],
    ["one JSON file", ["README.md", "alpaca_data.json", "dataset_info.json"], ["alpaca_data.json"]],
    ["CSV of the standard configuration", ["train.csv", "extra/train.csv"], ["train.csv"]],
  ])("%s in the repository itself", async (_, published, expected) => {
    hub.publish("org/files", files(...published));
    expect(await contents("org/files")).toEqual(expected);
  });

  test.each<readonly [string, readonly string[], string, RegExp]>([
    [
      "several configurations",
      ["a/train/0000.parquet", "b/train/0000.parquet"],
      "org/set",
      /there are several parts; write org\/set:… with one of a\/train, b\/train/,
    ],
    [
      "no training split",
      ["d/test/0000.parquet", "d/validation/0000.parquet"],
      "org/set",
      /one of d\/test, d\/validation/,
    ],
    [
      "a split of which the hub has converted only a part",
      ["d/partial-train/0000.parquet"],
      "org/set",
      /the hub has converted only a part of it.*write org\/set:… with one of d\/partial-train/,
    ],
    [
      "a split that is not there",
      ["d/train/0000.parquet"],
      "org/set:test",
      /there is no test; write org\/set:… with one of d\/train/,
    ],
    ["no data", ["README.md"], "org/set", /has no Parquet, JSON or CSV files .*README\.md/],
    [
      "a file that is not there",
      ["train.jsonl"],
      "org/set:test.jsonl",
      /org\/set has no file test\.jsonl; train\.jsonl/,
    ],
    ["no such data set", [], "org/none", /there is no dataset org\/none/],
  ])("%s", async (_, published, name, message) => {
    hub.publish("org/set", files(...published));
    await expect(contents(name)).rejects.toThrow(message);
  });
});
