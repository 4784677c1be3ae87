// Before each file of the fast tests. The files of one worker share what is changed here.
import processes, { type ForkOptions } from "node:child_process";
import { syncBuiltinESMExports } from "node:module";
import { pathToFileURL } from "node:url";
import threads, { Worker, type WorkerOptions } from "node:worker_threads";
import fc from "fast-check";
import { inject } from "vitest";
import { InferenceSession } from "../packages/graph/src/runtime/onnxruntime.ts";
import { runs } from "./runs.ts";
import { shareSession } from "./shared-sessions.ts";

const create = InferenceSession.create.bind(InferenceSession);

// A program has one thread where none are asked for: as many files run as there are cores, and the second thread of a small
// program does nothing but wait, which takes a core as well.
if (InferenceSession.create.name !== "createShared") {
  const createShared = async (model: Uint8Array | string, given: InferenceSession.SessionOptions) => {
    const options = { ...given, intraOpNumThreads: Math.max(1, given.intraOpNumThreads ?? 0) };
    return typeof model === "string"
      ? create(model, options)
      : shareSession(model, options, () => create(model, options));
  };
  Object.assign(InferenceSession, { create: createShared });
}

fc.configureGlobal({ numRuns: runs(100) });

const bundles = inject("childBundles");
const { fork } = processes;

/** The options with the bundle of what is loaded first, and no loader. */
const bundledOptions = ({ execArgv = [], ...options }: ForkOptions): ForkOptions => ({
  ...options,
  execArgv: execArgv
    .filter((option, i) => option !== "tsx" && execArgv[i + 1] !== "tsx")
    .map((option) => bundles[option] ?? option),
});

if (fork.name !== "forkBundle") {
  const forkBundle = (entry: string, args: readonly string[], options: ForkOptions) => {
    const bundle = bundles[pathToFileURL(entry).href];
    return bundle === undefined
      ? fork(entry, args, options)
      : fork(new URL(bundle), args, bundledOptions(options));
  };
  class BundledWorker extends Worker {
    constructor(source: string | URL, options: WorkerOptions) {
      const bundle = bundles[String(options.workerData)];
      if (bundle === undefined) super(source, options);
      else super(new URL(bundle), { resourceLimits: options.resourceLimits, execArgv: [] });
    }
  }
  Object.assign(processes, { fork: forkBundle });
  Object.assign(threads, { Worker: BundledWorker });
  syncBuiltinESMExports();
}
