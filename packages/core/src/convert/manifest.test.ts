import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { saveAdapter } from "#adapters";
import { loadText } from "#models";
import { layerShapes } from "../../test/layer-shapes.ts";
import { randomAdapter } from "../../test/random-adapter.ts";
import { addToManifest, describeExport, plainName } from "./manifest.ts";
import { writeModelfile } from "./modelfile.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-manifest-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test("a manifest has each adapter once, by its name", async () => {
  const manifest = join(folder, "manifest.json");
  for (const [name, rank] of [
    ["b:1", 2],
    ["a", 3],
    ["b:1", 4],
  ] as const) {
    const out = join(folder, name);
    const adapter = randomAdapter({ method: "lora", rank, alpha: 4 }, layerShapes(1), {
      seed: 1,
      only: "zeros",
    });
    await saveAdapter(out, adapter, { base: { name: "org/base", fingerprint: "f".repeat(64) } });
    await addToManifest(manifest, await describeExport(out));
  }
  const base = { base: "org/base", revision: null, digest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/) };
  expect(JSON.parse(await readFile(manifest, "utf8"))).toEqual([
    { ...base, name: "a", uri: `file://${join(folder, "a")}`, rank: 3 },
    { ...base, name: "b--1", uri: `file://${join(folder, "b:1")}`, rank: 4 },
  ]);
  expect(plainName("ft:tiny:acme@example.com::a1")).toBe("ft--tiny--acme-example.com----a1");
  await writeFile(manifest, "{}");
  await expect(addToManifest(manifest, await describeExport(join(folder, "a")))).rejects.toMatchObject({
    code: "bad_data",
  });
});

test("a Modelfile has the files, the template, and the ends of answers", async () => {
  const out = join(folder, "acme.gguf");
  const path = await writeModelfile(out, { model: "assets/tiny-english", kind: "adapter" });
  expect(path).toBe(join(folder, "acme.Modelfile"));
  const text = await readFile(path, "utf8");
  const { tokenizer } = await loadText("assets/tiny-english");
  expect(text).toMatch(/^FROM \.\/base\.gguf\nADAPTER \.\/acme\.gguf\nTEMPLATE """\{\{ \$last := "" \}\}/);
  for (const id of tokenizer.eosTokens)
    expect(text).toContain(`\nPARAMETER stop ${JSON.stringify(tokenizer.idToToken(id))}\n`);
  expect(text.endsWith("PARAMETER temperature 0\n")).toBe(true);
  await writeModelfile(out, { model: "assets/tiny-english", kind: "model" });
  expect(await readFile(path, "utf8")).toMatch(/^FROM \.\/acme\.gguf\nTEMPLATE/);
});
