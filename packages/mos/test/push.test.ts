// An adapter on its way to the hub and back.
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { finetune } from "mixture-of-shards-core/training";
import { beforeAll, beforeEach, expect, test, vi } from "vitest";
import { WritableHub } from "../../../test/writable-hub.ts";
import { writeTinyFolder } from "../../core/test/tiny-folder.ts";
import { mos } from "./bad-input/run-mos.ts";

let hub: WritableHub;
let folder: string;
let model: string;
let adapter: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-push-"));
  const tiny = await writeTinyFolder(folder);
  model = tiny.model;
  const trained = join(folder, "trained");
  const method = { method: "mos", rank: 3, equivalentRank: 2, shardsPerVector: 2 } as const;
  const settings = { steps: 1, batchSize: 1, maxLength: 64, validationSplit: 0 };
  for await (const _ of finetune({ model, data: tiny.data, out: trained, adapter: method, settings }));
  return () => rm(folder, { recursive: true });
});
beforeEach(async () => {
  hub = await WritableHub.start();
  const own = await mkdtemp(join(folder, "test-"));
  adapter = join(own, "adapter");
  await cp(join(folder, "trained"), adapter, { recursive: true });
  vi.stubEnv("HF_ENDPOINT", hub.endpoint);
  vi.stubEnv("HF_HOME", join(own, "hub"));
  vi.stubEnv("HF_TOKEN", "hf_write");
  return async () => {
    vi.unstubAllEnvs();
    await hub.stop();
  };
});
const pushed = (...more: readonly string[]) => mos(["push", adapter, "org/name", ...more]);
const FILES = ["README.md", "adapter_config.json", "adapter_model.safetensors"];

test("push uploads the adapter's files and a card; pull brings it back; a name is enough for --adapter", async () => {
  expect(await pushed()).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(
      /its base is recorded as "\w+", which is no repository of the Hub; pass --base-model/,
    ),
  });
  const first = await pushed("--base-model", "org/tiny", "--private");
  expect(first).toMatchObject({ code: 0 });
  expect(first.stdout).toMatch(
    /files +3 files uploaded, 0 unchanged[\s\S]*--model org\/tiny --adapter org\/name/,
  );
  // nothing else of the run
  expect(Object.keys(hub.branch("main")).sort()).toEqual(FILES);
  const tensors = await readFile(join(adapter, "adapter_model.safetensors"));
  expect(hub.branch("main")["adapter_model.safetensors"]?.equals(tensors)).toBe(true);
  const config = JSON.parse(hub.branch("main")["adapter_config.json"]?.toString() ?? "");
  expect(config).toEqual({
    ...JSON.parse(await readFile(join(adapter, "adapter_config.json"), "utf8")),
    base_model_name_or_path: "org/tiny",
  });
  const again = await pushed("--base-model", "org/tiny", "--json");
  expect(JSON.parse(again.stdout.trim().split("\n").at(-1) ?? "")).toMatchObject({
    type: "finish",
    sent: [],
  });

  const out = join(dirname(adapter), "pulled");
  const pulled = await mos(["pull", "org/name", "--out", out]);
  expect(pulled).toMatchObject({ code: 0, stdout: expect.stringMatching(/adapter +org\/name at /) });
  expect((await readdir(out)).sort()).toEqual(FILES.slice(1));
  const named = await mos(["inspect", "org/name", "--model", model, "--json"]);
  const local = await mos(["inspect", out, "--model", model, "--json"]);
  expect({ ...JSON.parse(named.stdout), name: "" }).toEqual({ ...JSON.parse(local.stdout), name: "" });
  expect(pulled.stdout).toContain(`--model org/tiny --adapter ${out}`);
  expect(await mos(["pull", "org/name", "--out", out])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("exists; choose a new folder"),
  });
  const asModel = await mos(["generate", "--model", "org/name", "--prompt", "x"]);
  expect(asModel).toMatchObject({ code: 2, stderr: expect.stringContaining("is an adapter, not a model") });
});

test("the card has the metadata that the hub reads, the settings of the training, and gives way to one's own", async () => {
  await pushed("--base-model", "org/tiny", "--revision", "card");
  const card = hub.branch("card")["README.md"]?.toString() ?? "";
  expect(card).toMatch(
    /^---\nbase_model: org\/tiny\nbase_model_relation: adapter\nlibrary_name: mixture-of-shards\npipeline_tag: text-generation\ntags:\n- adapter\n- mos\n- mixture-of-shards\n---\n\n# name\n/,
  );
  expect(card).toMatch(/\| Steps \| 1 \|\n/);
  expect(card).toMatch(/\| Learning rate \| 0\.\d+ \|\n/);
  expect(card).toContain("not on npm yet: to use it, run `npm ci` and `npm link` in a clone");
  expect(card).toContain("mos generate --model org/tiny --adapter org/name --chat");
  await writeFile(join(adapter, "README.md"), "Own");
  await pushed("--base-model", "org/tiny", "--revision", "card");
  expect(hub.branch("card")["README.md"]?.toString()).toBe("Own");
});
