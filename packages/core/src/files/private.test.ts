import { chmod, mkdir, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { makePrivateFolder } from "./private.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-private-"));
});
afterEach(() => rm(folder, { recursive: true }));

const fileMode = async (path: string): Promise<string> => ((await stat(path)).mode & 0o7777).toString(8);

test.skipIf(process.platform === "win32")("a private folder is its owner's, made or found", async () => {
  const path = join(folder, "a", "b");
  await makePrivateFolder(path);
  expect(await fileMode(path)).toBe("700");
  await chmod(path, 0o777);
  await makePrivateFolder(path);
  expect(await fileMode(path)).toBe("700");
  await writeFile(join(folder, "file"), "");
  await expect(makePrivateFolder(join(folder, "file"))).rejects.toMatchObject({ code: "storage" });
});

test.skipIf(process.platform === "win32")("a folder with other things in it is left as it is", async () => {
  const [own, home, sticky] = [join(folder, "own"), join(folder, "home"), join(folder, "sticky")];
  for (const path of [own, home, sticky]) await mkdir(path);
  await mkdir(join(own, "objects"));
  await writeFile(join(home, "notes"), "");
  for (const path of [own, home]) await chmod(path, 0o755);
  await chmod(sticky, 0o1777);
  for (const path of [own, home, sticky]) await makePrivateFolder(path, { ownEntries: ["objects"] });
  expect([await fileMode(own), await fileMode(home), await fileMode(sticky)]).toEqual(["700", "755", "1777"]);
});
