// The process that trains. It keeps the base of its last slice, so that jobs on one base take turns on one copy of it. When its
// supervisor is gone it ends at once: another worker goes on from the last checkpoint.

import { type BaseModel, type FinetuneEvent, finetune, loadModel, MosError } from "mixture-of-shards";
import {
  type CallContext,
  freeMemory,
  omitUndefined,
  PythonGraders,
  serveParent,
} from "mixture-of-shards/cli";
import { createQuestions, type Question } from "./questions.ts";
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
    ...(computeDtype === "auto" ? {} : { transposedCodes: computeDtype === "int8" }),
    signal,
  });
  loaded = { key, base };
  return base;
}

const questions = createQuestions();
/** The sandbox of graders in Python, which opens in seconds: one for many slices. */
const pythonGraders = new PythonGraders();

const methods = {
  train: async (
    order: TrainRequest,
    { signal, emit, deliver }: CallContext<FinetuneEvent | Question>,
  ): Promise<{ readonly isComplete: boolean }> => {
    const { validationData, maxTokens, threads, model: _, ...run } = order;
    let isComplete = false;
    try {
      const events = finetune({
        ...run,
        model: await loadBase(order, signal),
        free,
        ...omitUndefined({ validationData, maxTokens }),
        session: { threads },
        signal,
        scoreModel: (request) => questions.ask(request, { signal, emit }),
        pythonGraders,
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
  answer: questions.answer,
};

export type TrainerMethods = typeof methods;
serveParent(methods);
