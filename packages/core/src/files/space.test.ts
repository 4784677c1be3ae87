import type { StatsFs } from "node:fs";
import files from "node:fs/promises";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { replaceBuiltin } from "../../../../test/replace-builtin.ts";
import { assertSpace } from "./space.ts";

const statfs = vi.fn<() => Promise<StatsFs>>();
replaceBuiltin(files, "statfs", () => statfs as unknown as typeof files.statfs);
const makeDisk = (bavail: number, blocks: number): StatsFs => ({ bavail, blocks, bsize: 1000 }) as StatsFs;

const here = import.meta.dirname;
const take = (bytes: number, folder = here) => assertSpace(folder, { what: "the model", bytes });

test("free space is that of the disk of the nearest existing folder", async () => {
  statfs.mockResolvedValue(makeDisk(2_500, 9_000));
  await take(2_500_000, join(here, "none", "below"));
  expect(statfs).toHaveBeenLastCalledWith(here);
  const below = join(here, "none");
  await expect(take(2_500_001, below)).rejects.toMatchObject({
    code: "storage",
    message: `${below}: the model takes 2.50 MB, but its disk has 2.50 MB free; free some space, or choose another folder`,
  });
});

test("a file system that reports no size counts as large enough; one that cannot be read is an error", async () => {
  statfs.mockResolvedValueOnce(makeDisk(0, 0));
  await take(1e15);
  statfs.mockRejectedValueOnce(Object.assign(new Error("EACCES"), { code: "EACCES" }));
  await expect(take(1)).rejects.toMatchObject({
    code: "storage",
    message: expect.stringContaining(`${here}: permission denied`),
  });
});
