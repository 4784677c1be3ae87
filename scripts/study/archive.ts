// The archive of the study, and the page that shows it. The archive was packed by
//   tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX --format=ustar -cf - study | gzip -9n
import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MosError } from "#core";

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

/**
 * The document with each table between `<!-- study: name -->` and `<!-- end of study -->` computed anew.
 * Throws MosError `bad_data` for a name that is not among `parts`.
 */
export const fillTables = (document: string, parts: Readonly<Record<string, string>>): string =>
  document.replaceAll(/<!-- study: ([\w-]+) -->.*?<!-- end of study -->/gs, (_, name: string) => {
    const part = parts[name];
    if (part === undefined)
      throw new MosError(
        "bad_data",
        `there is no table ${name}; use one of ${Object.keys(parts).join(", ")}`,
      );
    return `<!-- study: ${name} -->\n\n${part}\n\n<!-- end of study -->`;
  });
