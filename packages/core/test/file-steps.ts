// Random calls of files, by which one place for files is compared with another.
import fc from "fast-check";
import type * as platform from "#platform";

type Files = Pick<
  typeof platform,
  "copyFile" | "mkdir" | "open" | "readdir" | "readFile" | "rename" | "rm" | "rmdir" | "stat"
>;

const name = fc.constantFrom("a", "b", "a/a", "a/b", "b/a", "a/b/a");

/** One call, with more than it needs. */
export const fileStep = fc.record({
  call: fc.constantFrom(
    "mkdir",
    "mkdirs",
    "rmdir",
    "rm",
    "rename",
    "copy",
    "list",
    "read",
    "stat",
    "write",
    "edit",
  ),
  at: name,
  to: name,
  flags: fc.constantFrom("w", "wx", "a"),
  text: fc.string({ unit: "grapheme-ascii", maxLength: 5 }),
  from: fc.nat(9),
  length: fc.nat(9),
});
export type FileStep = typeof fileStep extends fc.Arbitrary<infer Step> ? Step : never;

/** What comes of a call; the code of its error where it fails. */
export async function runFileStep(files: Files, root: string, step: FileStep): Promise<unknown> {
  const [at, to] = [`${root}/${step.at}`, `${root}/${step.to}`];
  const calls: Readonly<Record<FileStep["call"], () => Promise<unknown>>> = {
    mkdir: () => files.mkdir(at),
    mkdirs: () => files.mkdir(at, { recursive: true }).then(() => "made"),
    rmdir: () => files.rmdir(at),
    rm: () => files.rm(at, { recursive: true, force: true }),
    rename: () => files.rename(at, to),
    copy: async () => {
      // of a folder, Node removes the target
      if ((await files.stat(at)).isDirectory()) return "a folder";
      // which of two errors comes first is the system's
      return files.copyFile(at, to).catch(() => "failed");
    },
    list: async () => (await files.readdir(at)).sort(),
    read: () => files.readFile(at, "utf8"),
    stat: async () => {
      const found = await files.stat(at);
      return found.isDirectory() ? "a folder" : `a file of ${found.size}`;
    },
    write: async () => {
      await using file = await files.open(at, step.flags);
      await file.writeFile(step.text);
      await file.writeFile(step.text);
    },
    edit: async () => {
      await using file = await files.open(at, "a+");
      await file.truncate(step.length);
      const bytes = new Uint8Array(8);
      const { bytesRead } = await file.read(bytes, 1, 6, step.from);
      return `${bytesRead}: ${bytes.join()} of ${(await file.stat()).size}`;
    },
  };
  try {
    return await calls[step.call]();
  } catch (error) {
    return (error as { readonly code?: unknown }).code;
  }
}
