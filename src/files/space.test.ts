import { statfs } from "node:fs/promises";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { assertSpace } from "./space.ts";

vi.mock("node:fs/promises", { spy: true });
type Disk = Awaited<ReturnType<typeof statfs>>;
const makeDisk = (bavail: number, blocks: number): Disk => ({ bavail, blocks, bsize: 1000 }) as Disk;

const here = import.meta.dirname;
const take = (bytes: number, folder = here) => assertSpace(folder, { what: "the model", bytes });

test("free space is that of the disk of the nearest existing folder", async () => {
  vi.mocked(statfs).mockResolvedValue(makeDisk(2_500, 9_000));
  await take(2_500_000, join(here, "none", "below"));
  expect(vi.mocked(statfs)).toHaveBeenLastCalledWith(here);
  const below = join(here, "none");
  await expect(take(2_500_001, below)).rejects.toMatchObject({
    code: "storage",
    message: `${below}: the model takes 2.50 MB, but its disk has 2.50 MB free; make room, or choose another folder`,
  });
});

test("a file system that reports no size counts as large enough; one that cannot be read is an error", async () => {
  vi.mocked(statfs).mockResolvedValueOnce(makeDisk(0, 0));
  await take(1e15);
  vi.mocked(statfs).mockRejectedValueOnce(Object.assign(new Error("EACCES"), { code: "EACCES" }));
  await expect(take(1)).rejects.toMatchObject({
    code: "storage",
    message: expect.stringContaining(`${here}: permission denied`),
  });
});
