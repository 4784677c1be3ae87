import { describeTrainedOn } from "mixture-of-shards-core/adapters";
import { describeBytes, omitUndefined, setting } from "mixture-of-shards-core/common";
import {
  type ChatFacts,
  chatFacts,
  type MergeEvent,
  mergeAdapter,
  mergeSettings,
} from "mixture-of-shards-core/convert";
import { z } from "zod";
import { defineCommand, group } from "./command.ts";
import { adapterFolder, base, quiet, SIZES } from "./common-options.ts";
import { counted, formatBar, formatDuration } from "./format.ts";
import { listenForInterrupt } from "./interrupt.ts";
import { findModel, usableAdapter } from "./loading.ts";
import { ALIKE, chatRows, ollamaCreate } from "./model-text.ts";
import { MOS, nearPath, printLine, resultText, shellWord, watchEvents } from "./terminal.ts";

const options = {
  ...group("Model", { model: base }),
  ...group("Output", {
    out: setting(z.string(), {
      required: true,
      placeholder: "path",
      help: "output folder or, of a .gguf base, a .gguf file; must not exist",
    }),
    ...mergeSettings,
    quiet,
  }),
};

export const command = defineCommand({
  description:
    "Merges an adapter into its base model and writes the result as a Hugging Face folder, or as a GGUF file.",
  arguments: { adapter: adapterFolder },
  options,
  json: "events",
  examples: `
Examples:
  mos merge adapters/acme --model Qwen/Qwen3.5-0.8B --out models/acme
  mos merge adapters/acme --model model.gguf --out models/acme --dtype bfloat16
  mos merge adapters/acme --model model.gguf --out acme.gguf
  mos merge adapters/acme --model models/llama --out models/acme --shard-size 2GB

A folder loads in transformers, vLLM and others, a file in llama.cpp, Ollama and LM Studio, and both as --model
here. Weights are merged one at a time, so the model may be larger than memory. W + scale * B A is computed in
float32 and rounded once.
${SIZES}`,
  async run({ adapter: folder, model, out, dtype, shardSize, quiet, json }) {
    const silent = quiet || json;
    using interrupt = listenForInterrupt("stopping", { silent });
    const { signal } = interrupt;
    const adapter = await usableAdapter(folder);
    const path = await findModel(model, { signal, silent });
    const progress = progressText();
    const events = mergeAdapter({
      model: path,
      adapter,
      out,
      shardSize,
      signal,
      ...omitUndefined({ dtype }),
    });
    const done = await watchEvents(events, {
      json,
      silent,
      show: (event, line) => {
        if (event.type === "trainedOn") line.print(`${adapter}: ${describeTrainedOn(event.base)}`);
        const text = progress(event);
        if (text !== undefined) line.update(text);
      },
    });
    if (done !== undefined && !silent)
      printLine(mergedText(done, { adapter, model, chat: await chatFacts(path) }));
  },
});

/** Quick work needs no line. */
const QUICK = 500;

/** The live line: how much of the base was read, then how much was written. */
function progressText(): (event: MergeEvent) => readonly string[] | undefined {
  const begun = performance.now();
  let startedAt: number | undefined;
  return (event) => {
    const now = performance.now();
    if (now - begun < QUICK) return undefined;
    if (event.type === "checking") {
      const { done, total } = event;
      return [`checking the base ${formatBar(done / total, 10)} ${done} of ${total} weights`];
    }
    if (event.type !== "writing") return undefined;
    startedAt ??= now;
    const share = event.doneBytes / event.totalBytes;
    const seconds = (now - startedAt) / 1000;
    const left = seconds < 1 ? [] : [`${formatDuration(seconds * (1 / share - 1))} left`];
    const written = `${describeBytes(event.doneBytes)} of ${describeBytes(event.totalBytes)}`;
    return [`${formatBar(share, 10)} ${written}`, ...left, event.name];
  };
}

const mergedText = (
  {
    out,
    files,
    bytes,
    dtype,
    replaced = [],
    made = [],
    modelfile,
  }: Extract<MergeEvent, { readonly type: "finish" }>,
  {
    adapter,
    model,
    chat,
  }: { readonly adapter: string; readonly model: string; readonly chat: ChatFacts | undefined },
): string =>
  resultText(
    [
      ["merged", `${adapter} into ${model}`],
      ["weights", `${describeBytes(bytes)} of ${dtype} in ${counted(files.length, "file")}`],
      replaced.length > 0 && [
        "",
        `${replaced.join(" and ")} cannot hold merged weights; --dtype chooses their type`,
      ],
      ["place", out],
      made.length > 0 && ["", `made for it: ${made.join(", ")}`],
      ...chatRows(chat),
    ],
    [
      `${MOS} generate --model ${shellWord(nearPath(out))} --chat`,
      ...(modelfile === undefined
        ? []
        : [`llama-cli --model ${shellWord(nearPath(out))} ${ALIKE}`, ollamaCreate(nearPath(modelfile))]),
    ],
  );
