// The process that trains. It keeps the base of its last slice, so that jobs on one base take turns on one copy of it. When its
// supervisor is gone it ends at once: another worker goes on from the last checkpoint.

import { type BaseModel, type FinetuneEvent, finetune, loadModel, MosError } from "mixture-of-shards";
import { trackRun } from "mixture-of-shards/kit";
import { type CallContext, freeMemory, limitConcurrency, omitUndefined } from "mixture-of-shards-core/common";
import { type ChatClient, openChatClient } from "mixture-of-shards-core/data";
import { PythonGraders } from "mixture-of-shards-core/graders";
import { serveParent } from "mixture-of-shards-core/process";
import type { TrainRequest } from "./trainer.ts";

/** Free memory before a base was loaded: the loaded base is a part of a run's memory. */
const free = await freeMemory();

let loaded: { readonly key: string; readonly base: BaseModel } | undefined;

async function loadBase({ model, settings }: TrainRequest, signal: AbortSignal): Promise<BaseModel> {
  const { baseDtype = "stored", computeDtype = "auto" } = settings;
  const key = JSON.stringify([model, baseDtype, computeDtype]);
  if (loaded?.key === key) return loaded.base;
  loaded = undefined; // its memory is needed for the next one
  const base = await loadModel(model, {
    baseDtype,
    computeDtype,
    tableInFile: true,
    ...(computeDtype === "auto" ? {} : { transposedCodes: computeDtype === "int8" }),
    signal,
  });
  loaded = { key, base };
  return base;
}

/** A grader waits for a model; this process computes nothing meanwhile. */
interface Waiting {
  readonly type: "waiting";
}

/** Requests of graders at a time, so that a tenant's job leaves room for its other clients. */
const CONCURRENCY = 8;
/** Seconds of a request: a server that is silent must not hold up the turns of other jobs. */
const SECONDS = 300;
/** Milliseconds between reports that an answer is waited for. */
const REPORT_EVERY = 1000;

/** Asks the models of a server, and reports that it waits. */
function openModels(access: NonNullable<TrainRequest["models"]>, emit: (event: Waiting) => void): ChatClient {
  const ask = openChatClient({ ...access, role: "the server", isAwaited: true, seconds: SECONDS });
  const inTurn = limitConcurrency(CONCURRENCY);
  return (request, signal) =>
    inTurn(async () => {
      const reports = setInterval(() => emit({ type: "waiting" }), REPORT_EVERY);
      try {
        return await ask(request, signal);
      } finally {
        clearInterval(reports);
      }
    }, signal);
}

/** The sandbox of graders in Python, which opens in seconds: one for many slices. */
const pythonGraders = new PythonGraders();

/** Said once by a job, without the address of the tracker, which is the operator's. */
const AWAY = {
  type: "warning",
  reason: "tracker",
  step: 0,
  message: "the tracker does not take the job's metrics; what it has missed is sent while the job trains",
} as const;

const methods = {
  train: async (
    order: TrainRequest,
    { signal, emit, deliver }: CallContext<FinetuneEvent | Waiting>,
  ): Promise<{ readonly isComplete: boolean }> => {
    const { validationData, maxTokens, threads, models, track, model: _, ...run } = order;
    let isComplete = false;
    try {
      const events = finetune({
        ...run,
        model: await loadBase(order, signal),
        free,
        ...omitUndefined({ validationData, maxTokens }),
        session: { threads },
        signal,
        scoreModel: models && openModels(models, emit),
        pythonGraders,
        follow: track && ((run) => trackRun(run, { ...track, onAway: () => emit(AWAY) })),
      });
      for await (const event of events) {
        if (event.type === "saved" && event.what === "adapter") isComplete = true;
        // it is copied before training goes on
        if (event.type === "saved" && event.what === "checkpoint") await deliver(event);
        else emit(event);
      }
      return { isComplete };
    } catch (error) {
      if (error instanceof MosError && error.code === "cancelled") return { isComplete: false };
      throw error;
    }
  },
};

export type TrainerMethods = typeof methods;
serveParent(methods);
