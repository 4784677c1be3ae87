import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { checkToken } from "./connection.ts";
import { hubAssetsFolder, hubSettings } from "./hub-settings.ts";

test("the cache is where huggingface_hub has it", async () => {
  const folder = async (environment: Parameters<typeof hubSettings>[0]) =>
    (await hubSettings(environment, "/home/none")).cacheFolder;
  expect(await folder({})).toBe("/home/none/.cache/huggingface/hub");
  expect(await folder({ XDG_CACHE_HOME: "/x" })).toBe("/x/huggingface/hub");
  expect(await folder({ XDG_CACHE_HOME: "/x", HF_HOME: "/h" })).toBe("/h/hub");
  expect(await folder({ HF_HOME: "/h", HF_HUB_CACHE: "/c" })).toBe("/c");
});

test("files derived from downloads have a folder of their own beside the cache", () => {
  const folder = (environment: Parameters<typeof hubAssetsFolder>[0]) =>
    hubAssetsFolder(environment, "/home/none");
  expect(folder({})).toBe("/home/none/.cache/huggingface/assets/mixture-of-shards");
  expect(folder({ XDG_CACHE_HOME: "/x" })).toBe("/x/huggingface/assets/mixture-of-shards");
  expect(folder({ HF_HOME: "/h", HF_HUB_CACHE: "/c" })).toBe("/h/assets/mixture-of-shards");
  expect(folder({ HF_HOME: "/h", HF_ASSETS_CACHE: "/a" })).toBe("/a/mixture-of-shards");
});

test("reads endpoint, offline and token", async () => {
  expect(await hubSettings({}, "/home/none")).toEqual({
    cacheFolder: "/home/none/.cache/huggingface/hub",
    endpoint: "https://huggingface.co",
    offline: false,
  });
  const environment = { HF_ENDPOINT: "http://mirror/", HF_HUB_OFFLINE: "1", HF_TOKEN: "hf_a\n" };
  expect(await hubSettings(environment, "/home/none")).toMatchObject({
    endpoint: "http://mirror",
    offline: true,
    token: "hf_a",
  });
});

test("finds the token of an earlier login", async () => {
  const home = await mkdtemp(join(tmpdir(), "hub-"));
  await writeFile(join(home, "token"), "hf_stored\n");
  expect(await hubSettings({ HF_HOME: home }, "/home/none")).toMatchObject({ token: "hf_stored" });
  expect(await hubSettings({ HF_HOME: home, HF_TOKEN: "hf_env" }, "/home/none")).toMatchObject({
    token: "hf_env",
  });
  await rm(home, { recursive: true });
});

test("refuses a token that no header can hold", () => {
  expect(() => checkToken("hf_ok")).not.toThrow();
  for (const bad of ["", "a b", "a\nb", "é"]) {
    expect(() => checkToken(bad)).toThrowError(expect.objectContaining({ code: "bad_option" }));
  }
});
