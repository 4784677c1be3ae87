// Loading of models and engines, with progress lines.

import { homedir } from "node:os";
import { join } from "node:path";
import { isAdapterInUse, unfinishedText } from "mixture-of-shards-core/adapters";
import { describeBytes, omitUndefined, withProgress } from "mixture-of-shards-core/common";
import { locateData } from "mixture-of-shards-core/data";
import { pathExists } from "mixture-of-shards-core/files";
import {
  hubAssetsFolder,
  hubSettings,
  looksLikeRepository,
  type PullEvent,
  repositoryAt,
} from "mixture-of-shards-core/hub";
import type { OpenProgress } from "mixture-of-shards-core/inference";
import { type LoadProgress, locatedPath, locateModel } from "mixture-of-shards-core/models";
import { counted, formatBar, formatDuration, formatRate } from "./format.ts";
import { type LiveLine, liveLine, warn } from "./terminal.ts";

/** The hub and the cache folders by the user's environment. */
export async function userPlaces() {
  const home = homedir();
  const cache = join(process.env["XDG_CACHE_HOME"] || join(home, ".cache"), "mixture-of-shards");
  return {
    hub: await hubSettings(process.env, home),
    /** Folder of benchmarks from the hub. */
    benchmarks: join(hubAssetsFolder(process.env, home), "benchmarks"),
    /** Cache folder for packed weights of models whose own folder is read-only. */
    weights: join(cache, "weights"),
    /** Folder of a base's own answers, which runs on it keep. */
    answers: join(cache, "answers"),
  };
}

/**
 * The folder of an adapter, downloaded if it has to be; of an unfinished run that of its best or latest adapter, with a
 * warning.
 */
export async function usableAdapter(adapter: string): Promise<string> {
  const isHere = (await pathExists(adapter)) || !looksLikeRepository(repositoryAt(adapter));
  const folder = isHere ? adapter : await findModel(adapter, { kind: "adapter" });
  const found = await isAdapterInUse(folder);
  const said = unfinishedText(folder, found);
  if (said !== undefined) warn(said);
  return found.path;
}

/** Draws the events of a download on a live line. */
export function pullProgress(now: () => number): (event: PullEvent, line: LiveLine) => void {
  let startedAt = 0;
  let receivedBefore = 0;
  return (event, line) => {
    if (event.type === "listing") {
      const { repository, commit, files, doneBytes, totalBytes } = event;
      startedAt = now();
      receivedBefore = doneBytes;
      const before = doneBytes > 0 ? `, ${describeBytes(doneBytes)} already downloaded` : "";
      const what = `${counted(files.length, "file")}, ${describeBytes(totalBytes)}`;
      line.print(`${repository} at ${commit.slice(0, 12)}: ${what}${before}`);
    } else if (event.type === "progress") {
      const { path, doneBytes, totalBytes } = event;
      const rate = (doneBytes - receivedBefore) / Math.max(1e-3, (now() - startedAt) / 1000);
      line.update([
        formatShare(doneBytes / totalBytes),
        `${describeBytes(doneBytes)} of ${describeBytes(totalBytes)}`,
        formatRate(rate, "bytes"),
        `${formatDuration((totalBytes - doneBytes) / rate)} left`,
        path,
      ]);
    } else if (event.type === "retry") {
      const { path, message, seconds, attempt } = event;
      line.print(`${path}: ${message}; retrying in ${formatDuration(seconds)} (${attempt})`);
    }
  };
}

/** A bar with its percentage; a short one, so that what follows is seen at 60 columns. */
const formatShare = (share: number): string =>
  `${formatBar(share, BAR)} ${`${Math.floor(share * 100)}%`.padStart(4)}`;

const BAR = 10;

export interface FindModelOptions {
  readonly signal?: AbortSignal | undefined;
  readonly silent?: boolean;
  /** What a repository has to hold ("model"). */
  readonly kind?: "model" | "adapter";
}

/** The folder or file of a model, downloaded if it has to be. */
export async function findModel(
  model: string,
  { signal, silent = false, kind }: FindModelOptions = {},
): Promise<string> {
  using line = liveLine({ silent });
  const show = pullProgress(() => performance.now());
  const { hub } = await userPlaces();
  const found = locateModel(model, { hub, kind, ...omitUndefined({ signal }) });
  return await withProgress(found, ({ transfer }) => show(transfer, line));
}

/** The files of data, downloaded if they have to be. */
export async function findData(
  names: readonly string[],
  { signal, silent = false }: FindModelOptions = {},
): Promise<readonly string[]> {
  using line = liveLine({ silent });
  const show = pullProgress(() => performance.now());
  const { hub } = await userPlaces();
  const found = locateData(names, { hub, ...omitUndefined({ signal }) });
  return await withProgress(found, (event) => show(event, line));
}

/** Progress of reading a model since a moment, with the remaining time. */
function readingParts(phase: string, started: number, { done, total }: Reading): readonly string[] {
  const share = done / Math.max(1, total);
  const seconds = (performance.now() - started) / 1000;
  const left = formatDuration((seconds * (1 - share)) / Math.max(1e-3, share));
  const bytes = `${describeBytes(done)} of ${describeBytes(total)}`;
  return [`${phase} ${formatShare(share)}`, `${left} left`, bytes];
}

interface Reading {
  readonly done: number;
  readonly total: number;
}

/** Shows how far a base is read, where that takes a while. */
export function loadingProgress(line: LiveLine): (progress: LoadProgress) => void {
  const started = performance.now();
  return ({ doneBytes: done, totalBytes: total }) => {
    if (performance.now() - started > 500) line.update(readingParts("loading", started, { done, total }));
  };
}

/** Where a model's config is; of a model on the hub that is not here, only config.json is downloaded. */
export async function configPath(model: string): Promise<string> {
  const include = model.includes(":") ? undefined : ["config.json"];
  const { hub } = await userPlaces();
  return await locatedPath(model, { hub, include });
}

const PHASES: Readonly<Record<Exclude<OpenProgress["type"], "note">, string>> = {
  model: "loading the model",
  adapters: "scanning adapters",
  compile: "compiling",
};

/** Shows how far opening an engine is. */
export function engineProgress(line: LiveLine): (progress: OpenProgress) => void {
  const started = performance.now();
  line.show(PHASES.model);
  return (progress) => {
    if (progress.type === "note") return line.print(progress.text);
    const { type, done, total } = progress;
    if (type === "model") line.update(readingParts(PHASES.model, started, progress));
    else line.show(type === "compile" ? PHASES.compile : `${PHASES[type]} ${done} of ${total}`);
  };
}

/** Runs work that reads a base, with a line on stderr where that takes a while. */
export async function withReadingLine<T>(
  { json }: { readonly json: boolean },
  work: (onProgress: (progress: Reading) => void) => Promise<T>,
): Promise<T> {
  const started = performance.now();
  using line = liveLine({ silent: json || process.stderr.isTTY !== true });
  return await work(({ done, total }) => {
    if (performance.now() - started > 500)
      line.update(`reading the base ${formatBar(done / total, BAR)} ${done} of ${total} weights`);
  });
}
