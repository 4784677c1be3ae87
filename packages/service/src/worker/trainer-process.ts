// The process that trains. It keeps the base of its last slice, so that jobs on one base take turns on one copy of it. When its
// supervisor is gone it ends at once: another worker goes on from the last checkpoint.

import { type BaseModel, finetune, loadModel, MosError } from "mixture-of-shards";
import { errorText, freeMemory } from "mixture-of-shards/cli";
import type { FromTrainer, ToTrainer, TrainRequest } from "./protocol.ts";

/** Free memory before a base was loaded: the loaded base is a part of a run's memory. */
const free = await freeMemory();

let loaded: { readonly key: string; readonly base: BaseModel } | undefined;
let controller = new AbortController();
let resumeTraining: (() => void) | undefined;

const send = (report: FromTrainer): void => {
  if (process.connected) process.send?.(report);
};

async function loadBase({ model, settings }: TrainRequest): Promise<BaseModel> {
  const { baseDtype = "stored", computeDtype = "float32" } = settings;
  const key = JSON.stringify([model, baseDtype, computeDtype]);
  if (loaded?.key === key) return loaded.base;
  loaded = undefined; // its memory is needed for the next one
  const base = await loadModel(model, {
    baseDtype,
    computeDtype,
    transposedCodes: computeDtype === "int8",
    signal: controller.signal,
  });
  loaded = { key, base };
  return base;
}

async function train(order: TrainRequest): Promise<void> {
  const { data, validationData, out, resume, adapter, settings, maxTokens, threads } = order;
  let isComplete = false;
  try {
    const events = finetune({
      model: await loadBase(order),
      data,
      out,
      resume,
      adapter,
      settings,
      free,
      ...(validationData === undefined ? {} : { validationData }),
      ...(maxTokens === undefined ? {} : { maxTokens }),
      session: { threads },
      signal: controller.signal,
    });
    for await (const event of events) {
      send({ type: "event", event });
      if (event.type === "saved" && event.what === "adapter") isComplete = true;
      if (event.type === "saved" && event.what === "checkpoint")
        await new Promise<void>((resolve) => {
          resumeTraining = resolve;
        });
    }
    send({ type: "ended", isComplete });
  } catch (error) {
    const code = error instanceof MosError ? error.code : "unexpected";
    if (code === "cancelled") return send({ type: "ended", isComplete: false });
    send({ type: "failed", code, message: errorText(error) });
  }
}

process.on("SIGINT", () => undefined);
process.on("SIGTERM", () => undefined);
process.on("disconnect", () => process.exit(1));
process.on("message", (order: ToTrainer) => {
  switch (order.type) {
    case "train":
      controller = new AbortController();
      void train(order);
      return;
    case "continue":
      resumeTraining?.();
      resumeTraining = undefined;
      return;
    case "stop":
      controller.abort();
  }
});
send({ type: "ended", isComplete: false }); // ready
