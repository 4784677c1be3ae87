// Adapters as a person finds them: the table, one of them with the picture of MoS, downloads, aliases and the way back, deletion.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { unzipSync } from "fflate";
import { createAdapter, parseAdapterConfig, saveAdapter } from "mixture-of-shards-core/adapters";
import { computeFingerprint, openModel, toLayerShapes } from "mixture-of-shards-core/models";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openStudio, type Studio } from "./studio.ts";

const MODEL = "assets/tiny-english";
const MOS = { method: "mos", rank: 6, equivalentRank: 2, shardsPerVector: 4, privateRank: 1 } as const;

let folder: string;

async function save(name: string, config: Parameters<typeof parseAdapterConfig>[0]): Promise<void> {
  await using files = await openModel(MODEL);
  const adapter = createAdapter(parseAdapterConfig(config), toLayerShapes(files.config));
  const fingerprint = await computeFingerprint(files, {});
  await saveAdapter(join(folder, name), adapter, { base: { name: "tiny", fingerprint } });
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-studio-adapters-"));
  await save("support", { ...MOS, targets: ["q_proj", "down_proj"], seed: 1 });
  await save("plain", { method: "lora", rank: 4, targets: ["v_proj"] });
});
afterAll(() => rm(folder, { recursive: true }));

/** A download's name and content, after a click. */
async function download({ page, click }: Studio, button: string): Promise<{ name: string; bytes: Buffer }> {
  const [file] = await Promise.all([page.waitForEvent("download", { timeout: 120_000 }), click(button)]);
  const place = join(folder, ".download");
  await file.saveAs(place);
  return { name: file.suggestedFilename(), bytes: await readFile(place) };
}

/** Has the server read the layers: a process starts for that, and on a busy machine it takes longer than a page waits here. */
const readLayers = ({ api }: Studio, adapter: string): Promise<unknown> =>
  api(`/v1/adapters/${encodeURIComponent(adapter)}/layers`);

describe("a folder of adapters", () => {
  let studio: Studio;
  beforeAll(async () => {
    studio = await openStudio({ adapters: folder, keys: true, as: "admin", at: "/adapters" });
  });
  afterAll(() => studio[Symbol.asyncDispose]());

  test("are listed with method, rank, memory and last use", async () => {
    await studio.see("support");
    const text = await studio.text();
    for (const part of ["Method", "mos", "lora", "6 (cost of 2)", "Last use", "Digest"])
      expect(text).toContain(part);
    await studio.api("/v1/completions", { model: "plain", prompt: "Hi", max_tokens: 1 });
    await studio.see(/\d s ago|now/);
    expect(await studio.seriousProblems()).toEqual([]);
  });

  test("the picture shows which layers share a shard, and which are private", async () => {
    await readLayers(studio, "support");
    await studio.click("support");
    await studio.see("40 shards stand in for 120");
    const { page } = studio;
    await page.getByRole("application").focus();
    await page.keyboard.press("ArrowDown");
    await studio.see(/Layer 0\. A: 20 of 20 public shards.* and 4 of its own/);
    await page.keyboard.press("ArrowRight");
    await studio.see(/Shard \d+ of A is public: layers? .* uses? it/);
    // from the first shard of A to the last one of B, which is private
    await page.keyboard.press("ArrowLeft");
    await studio.see("of B is private to layer 0");
    await page.keyboard.press("Escape");
    await studio.see("Hover over a shard");
    const drawing = page.locator(".pool canvas").first();
    await drawing.hover({ position: { x: 40, y: 26 } });
    await studio.see(/Shard 0 of A is public/);
    await studio.click("down_proj");
    await page.getByText("Layers of down_proj as a table").click();
    await studio.see("Shards of A");
    await studio.click("Stable rank");
    await studio.see("how many directions of the update count");
    expect(await studio.seriousProblems()).toEqual([]);
  });

  test("one click downloads it in each format", async () => {
    const gguf = await download(studio, "GGUF");
    expect(gguf.name).toBe("support.gguf");
    expect(gguf.bytes.subarray(0, 4).toString()).toBe("GGUF");
    const peft = await download(studio, "PEFT");
    expect(peft.name).toBe("support-peft.zip");
    const entries = unzipSync(new Uint8Array(peft.bytes));
    const config = entries["support/adapter_config.json"];
    expect(JSON.parse(Buffer.from(config ?? []).toString())).toMatchObject({ peft_type: "LORA", r: 6 });
    expect(entries["support/adapter_model.safetensors"]?.length).toBeGreaterThan(1000);
    const own = await download(studio, "Original");
    const files = unzipSync(new Uint8Array(own.bytes));
    const saved = await readFile(join(folder, "support/adapter_model.safetensors"));
    expect(Buffer.from(files["support/adapter_model.safetensors"] ?? []).equals(saved)).toBe(true);
  });

  test("an administrator uploads one and deletes it, after a question", async () => {
    await studio.open("/adapters");
    await studio.click("Upload");
    await studio.fill("Name", "fresh");
    const files = ["adapter_config.json", "adapter_model.safetensors"].map((name) =>
      join(folder, "plain", name),
    );
    await studio.page.getByLabel("Files").setInputFiles(files);
    await studio.page.getByRole("dialog").getByRole("button", { name: "Upload" }).click();
    await studio.see("fresh is ready to use");
    await studio.see("Update size by layer");
    await studio.click("Delete");
    await studio.see("Delete fresh?");
    await studio.click("Delete adapter");
    await studio.see("Deleted fresh");
    await studio.see("support");
    await studio.click("plain");
    await studio.page.getByRole("main").getByRole("link", { name: "Compare" }).click();
    expect(studio.page.url()).toContain("compare?models=tiny-english%2Cplain");
  });

  test("are found by name, method and alias, and what tells long names apart stays in sight", async () => {
    const branch = "customer-support-of-the-northern-branch-with-a-long-name";
    for (const end of ["red", "blue"]) await save(`${branch}-${end}`, { method: "lora", rank: 2 });
    await studio.open("/adapters");
    await studio.see("4 adapters");
    await studio.press("/");
    await studio.page.keyboard.type("NORTH lora");
    await studio.see("2 of 4 adapters");
    await studio.gone("plain");
    const ends =
      await studio.page.evaluate(`[...document.querySelectorAll(".table [role=row] a")].map((link) => {
      const text = document.createTreeWalker(link, NodeFilter.SHOW_TEXT).nextNode();
      const range = document.createRange();
      range.setStart(text, text.length - 4);
      range.setEnd(text, text.length);
      const [end, cell] = [range.getBoundingClientRect(), link.getBoundingClientRect()];
      const isSeen = end.left >= cell.left && end.right <= cell.right + 1;
      return { isCut: link.scrollWidth > link.clientWidth, isSeen };
    })`);
    expect(ends).toEqual([
      { isCut: true, isSeen: true },
      { isCut: true, isSeen: true },
    ]);
    await studio.fill("Filter adapters", "nothing like it");
    await studio.see("No adapters match");
    await studio.click("Show all 4 adapters");
    await studio.see("plain");
    expect(await studio.seriousProblems()).toEqual([]);
  });
});

test("a user's key may use an adapter of the folder, but neither download, upload nor delete it", async () => {
  await using studio = await openStudio({ adapters: folder, keys: true, as: "acme" });
  await readLayers(studio, "plain");
  await studio.open("/adapters/plain");
  await studio.see("Update size by layer");
  const text = await studio.text();
  for (const action of ["GGUF", "PEFT", "Delete"]) expect(text).not.toContain(action);
  await studio.open("/adapters");
  await studio.see("support");
  expect(await studio.text()).not.toContain("Upload");
});

test("an alias is set, switched, and rolled back from its history", async () => {
  await using studio = await openStudio({ state: true });
  const models: string[] = [];
  for (const suffix of ["one", "two"]) {
    const form = new FormData();
    for (const [field, name] of [
      ["adapter_config", "adapter_config.json"],
      ["adapter_model", "adapter_model.safetensors"],
    ] as const)
      form.set(field, new Blob([await readFile(join(folder, "support", name))]), name);
    form.set("suffix", suffix);
    models.push((await studio.api("/v1/models", form)).id);
  }
  const [one = "", two = ""] = models;
  const setAlias = async (model: string): Promise<void> => {
    await studio.open(`/adapters/${encodeURIComponent(model)}`);
    await studio.click("Set alias");
    await studio.fill("Alias", "helper");
    await studio.page.getByRole("dialog").getByRole("button", { name: "Set alias" }).click();
    await studio.page.getByRole("button", { name: "Remove alias helper" }).waitFor();
  };
  await setAlias(one);
  await setAlias(two);
  await studio.click("Roll back");
  await studio.see(`helper stands for ${one} again`);
  expect(await studio.api("/v1/aliases/helper")).toMatchObject({ model: one, version: 3 });
  await studio.open(`/adapters/${encodeURIComponent(one)}`);
  await studio.page.getByRole("button", { name: "Remove alias helper" }).click();
  await studio.click("Remove alias");
  await studio.see("No aliases yet");
});
