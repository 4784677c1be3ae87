// The archive of the study. It was packed by
//   tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX --format=ustar -cf - study | gzip -9n
import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const ARCHIVE = join(import.meta.dirname, "..", "..", "docs", "results", "study.tar.gz");

/** What `use` gives for the folder of the unpacked archive, which is removed afterwards. */
export async function withStudy<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "mos-study-"));
  try {
    execFileSync("tar", ["-xzf", ARCHIVE, "-C", folder]);
    return await use(join(folder, "study"));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
