// A whole evaluation: the model's text, adapters from anywhere, the benchmarks' data, the engine, the result.
import { basename, resolve } from "node:path";
import {
  type Adapter,
  type EngineOptions,
  isAdapterInUse,
  loadAdapter,
  loadText,
  locateModel,
  MosError,
  openEngine,
  openModel,
  type TransferEvent,
  toLayerShapes,
} from "mixture-of-shards";
import { createProgramChecker } from "mixture-of-shards-core/graders";
import { defaultChatFormat, type PromptSettings } from "./benchmark.ts";
import { type BenchmarkName, PAPER_BENCHMARKS } from "./benchmarks/index.ts";
import { checkTasks, evaluate } from "./evaluate.ts";
import { type FetchBenchmarkOptions, findData } from "./fetch.ts";
import type { EvaluateEvent, EvaluateOptions, Subject } from "./types.ts";

/** Options of evaluating a model. */
export interface EvaluateModelOptions
  extends Partial<PromptSettings>,
    Pick<EngineOptions, "hub" | "signal">,
    Pick<EvaluateOptions, "out" | "version" | "command" | "environment" | "now"> {
  /** How the model is loaded and computed; `maxBatch` questions are answered side by side (32). */
  readonly engine?: Omit<EngineOptions, "model" | "adapters" | "defaults" | "hub" | "signal">;
  /** A model folder, a .gguf file or org/name of the hub. */
  readonly model: string;
  /**
   * Folders of adapters on it; of a run that has not finished, what it has so far. Default: none, so that the base is
   * evaluated.
   */
  readonly adapters?: readonly string[];
  /** The base is evaluated beside its adapters. Default: only where there are none. */
  readonly base?: boolean;
  /** Default: the paper's benchmarks. */
  readonly tasks?: readonly BenchmarkName[];
  /** A folder laid out as `docs/reference/files.md` says, or how to fetch the data and where to keep them. */
  readonly data: string | Omit<FetchBenchmarkOptions, "signal">;
  /** Runs HumanEval's programs with this Python of the machine, which is not a sandbox. Default: in the sandbox. */
  readonly python?: string | undefined;
}

/** Event of an evaluation: downloads, then the events of `evaluate`. */
export type EvaluateModelEvent =
  /** The model is downloaded, or the data of a benchmark. */
  | {
      readonly type: "download";
      readonly transfer: TransferEvent;
      readonly task?: BenchmarkName;
    }
  /** The adapter of a run that has not finished: `path` is what it has so far. */
  | ({ readonly type: "unfinished"; readonly adapter: string } & FoundAdapter)
  | EvaluateEvent;

type FoundAdapter = Awaited<ReturnType<typeof isAdapterInUse>>;

/** Name in results of the model without an adapter. */
const BASE_NAME = "base";

/**
 * Asks a model, and adapters on it, the questions of benchmarks, and scores the predictions. After a break the same call
 * resumes with what is missing. Adapters, data and settings are checked before the model is loaded.
 *
 * @throws MosError `bad_option`, `not_found`, `bad_data`, `bad_model`, `bad_adapter`, `cancelled`, and what a download throws.
 * @example
 * const options = { model: "model.gguf", adapters: ["adapters/mos"], data: "benchmarks", out: "results.json", version: "1", now: () => performance.timeOrigin + performance.now() };
 * for await (const event of evaluateModel(options)) if (event.type === "score") console.log(event.score);
 */
export async function* evaluateModel({
  model: given,
  hub,
  adapters = [],
  base = false,
  tasks = PAPER_BENCHMARKS,
  data,
  python,
  engine: { maxBatch = 32, ...opening } = {},
  rules = "open-instruct",
  format = defaultChatFormat(rules),
  seed = 0,
  ...options
}: EvaluateModelOptions): AsyncGenerator<EvaluateModelEvent, void> {
  const { signal } = options;
  const model = yield* locateModel(given, { hub, signal });
  const { name, text, shapes } = await readModel(model);
  const named = await nameAdapters(adapters, shapes);
  const names = [...named.keys()];
  for (const [i, found] of [...named.values()].entries())
    if (found.what !== "adapter") yield { type: "unfinished", adapter: adapters[i] ?? "", ...found };
  const dataFolder = yield* findData({ tasks, data, signal });
  const asked = { ...options, tasks, text, dataFolder, rules, format, seed };
  await checkTasks(asked);
  const folders = Object.fromEntries([...named].map(([adapter, { path }]) => [adapter, path]));
  await using engine = await openEngine({
    ...opening,
    ...(names.length === 0 ? {} : { adapters: folders }),
    model,
    maxBatch,
    maxWaiting: Number.MAX_SAFE_INTEGER,
    signal,
    maxAdapterRank: Number.MAX_SAFE_INTEGER,
    defaults: { generationConfig: "none" }, // the rules say how answers are sampled
  });
  const { fingerprint, baseDtype, computeDtype } = engine.model;
  const subjects: readonly Subject[] = [
    ...(base || names.length === 0 ? [{ name: BASE_NAME, adapter: null }] : []),
    ...names.map((adapter) => ({ name: adapter, adapter })),
  ];
  yield* evaluate({
    ...asked,
    engine,
    subjects,
    model: { name, fingerprint, baseDtype, computeDtype },
    openChecker: () => createProgramChecker({ python, signal }),
    // the engine is never without the next question
    concurrency: 2 * maxBatch,
  });
}

async function readModel(path: string) {
  await using files = await openModel(path);
  return { name: files.name, text: await loadText(path), shapes: toLayerShapes(files.config) };
}

/**
 * Adapter folders by the names that results give them, in the order given, after a look at all of them. Whether they were
 * trained on these very weights is for the engine to say.
 *
 * @throws MosError `not_found` for a folder without an adapter, `bad_adapter`, `unsupported`, `bad_option` for one that is
 * given twice.
 */
export async function nameAdapters(
  folders: readonly string[],
  shapes: Adapter["shapes"],
): Promise<ReadonlyMap<string, FoundAdapter>> {
  const paths = folders.map((folder) => resolve(folder));
  const twice = paths.find((path, i) => paths.indexOf(path) < i);
  if (twice !== undefined) throw new MosError("bad_option", `the adapter ${twice} is given twice; omit one`);
  // the engine would leave a broken one out; here every one is needed, so what is wrong is reported
  const found = await Promise.all(paths.map(isAdapterInUse));
  for (const { path } of found) await loadAdapter(path, { shapes, fingerprint: undefined });
  const short = paths.map((path) => basename(path));
  const isPlain =
    new Set([...short, BASE_NAME]).size > short.length && !short.some((name) => name.startsWith("."));
  return new Map(found.map((one, i) => [isPlain ? (short[i] ?? "") : `${i + 1}-${short[i]}`, one]));
}
