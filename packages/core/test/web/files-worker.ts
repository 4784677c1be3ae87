// A worker of tests, which calls the modules below the library on the files of this origin.
import { type CallContext, serveCalls } from "#common";
import {
  lockFolder,
  openJsonLinesWriter,
  readJsonLines,
  repairFolder,
  writeFileAtomic,
  writeFolderAtomic,
} from "#files";
import * as platform from "#platform";
import { mount, openOpfsVolume } from "#platform/browser";
import { emitAll, type Port, portChannel } from "../../src/web/channel.ts";
import { type FileStep, runFileStep } from "../file-steps.ts";

const { join, mkdir, readdir, readFile, rm } = platform;

/** A version of a folder: every file says which. */
async function writeVersion(folder: string, version: number): Promise<void> {
  await writeFolderAtomic(folder, async (path) => {
    await mkdir(join(path, "deep"));
    for (const name of ["a", "b", "deep/c"]) await writeFileAtomic(join(path, name), content(version));
  });
}

const content = (version: number): string => `${version} `.repeat(50_000);

/** Versions of a file and of a folder, until the worker is ended. */
async function* writeVersions(folder: string): AsyncGenerator<number, never> {
  await mkdir(folder, { recursive: true });
  for (let version = 0; ; version++) {
    await writeFileAtomic(join(folder, "file"), content(version));
    await writeVersion(join(folder, "whole"), version);
    await using lines = await openJsonLinesWriter(join(folder, "lines.jsonl"));
    await lines.write({ version });
    yield version;
  }
}

const held: AsyncDisposable[] = [];

const methods = {
  open: async () => mount("/", await openOpfsVolume()),
  async steps({ root, steps }: { root: string; steps: readonly FileStep[] }) {
    await mkdir(root);
    const results: unknown[] = [];
    for (const step of steps) results.push(await runFileStep(platform, root, step));
    return results;
  },
  async lock({ folder }: { folder: string }) {
    await mkdir(folder, { recursive: true });
    held.push(await lockFolder(folder));
  },
  versions: ({ folder }: { folder: string }, context: CallContext<number>) =>
    emitAll(writeVersions(folder), context),
  /** The versions that are there, and all names. */
  async found({ folder }: { folder: string }) {
    await repairFolder(folder);
    const files = ["file", "whole/a", "whole/b", "whole/deep/c"];
    const texts = await Promise.all(files.map((name) => readFile(join(folder, name), "utf8")));
    const lines: unknown[] = [];
    await using writer = await openJsonLinesWriter(join(folder, "lines.jsonl"));
    await writer.write({ version: "last" });
    for await (const { value } of readJsonLines(join(folder, "lines.jsonl"))) lines.push(value);
    return {
      versions: texts.map((text) =>
        text === content(Number.parseInt(text, 10)) ? Number.parseInt(text, 10) : text.length,
      ),
      names: [...(await readdir(folder)), ...(await readdir(join(folder, "whole")))].sort(),
      lines,
    };
  },
  remove: ({ folder }: { folder: string }) => rm(folder, { recursive: true }),
};

serveCalls(portChannel(globalThis as unknown as Port), (name, argument, context) =>
  methods[name as keyof typeof methods](argument, context as never),
);
