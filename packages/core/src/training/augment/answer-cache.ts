// Answers of a base to general prompts, which the next run on it need not ask for again.
import { z } from "zod";
import { canonicalJson } from "#common";
import { makeFolder, readJson, writeFileAtomic } from "#files";
import { createHash, join, readdir, rm, stat } from "#platform";
import { type Replayed, replayedSchema } from "./replay.ts";

/** Files of a cache, each of one base with one way of asking; the oldest go. */
const MOST = 64;
/** Of a file; a few hundred short answers are far smaller. */
const MAX_BYTES = 4 << 20;
const FILE = /^[0-9a-f]{64}\.json$/;

/**
 * The answers that a folder keeps under a digest of all that decides them. Where it cannot be read or written, nothing is kept;
 * runs at once write the same file, each as a whole.
 */
export function answerCache(folder: string, decisive: object) {
  const path = join(folder, `${createHash("sha256").update(canonicalJson(decisive)).digest("hex")}.json`);
  return {
    /** The answers to the first prompts. */
    read: (): Promise<readonly Replayed[]> =>
      readJson(path, z.array(replayedSchema), { code: "bad_data", maximumBytes: MAX_BYTES }).catch(() => []),
    async write(answers: readonly Replayed[]): Promise<void> {
      await makeFolder(folder)
        .then(() => writeFileAtomic(path, JSON.stringify(answers)))
        .then(() => removeOldest(folder))
        .catch(() => undefined);
    },
  };
}

async function removeOldest(folder: string): Promise<void> {
  const paths = (await readdir(folder)).filter((name) => FILE.test(name)).map((name) => join(folder, name));
  if (paths.length <= MOST) return;
  const written = await Promise.all(
    // another run may have removed it just now
    paths.map(async (path) => ({ path, at: (await stat(path).catch(() => undefined))?.mtimeMs ?? 0 })),
  );
  written.sort((a, b) => b.at - a.at);
  for (const { path } of written.slice(MOST)) await rm(path, { force: true });
}
