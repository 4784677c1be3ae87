import { MosError } from "#core";
import { loadModelText, locatedPath, openModel } from "#models";
import { type LoadedText, withVariables } from "#text";
import { answerDefaults } from "./answer-defaults.ts";
import { createEngine } from "./engine-client.ts";
import type { EngineOptions } from "./engine-options.ts";
import { openCore } from "./open-core.ts";
import type { AnswerDefaults, Engine } from "./types.ts";
import { openWorkerCore } from "./worker-core.ts";

/**
 * Opens a model, with adapters if there are any.
 *
 * @throws MosError what loading a model throws, `bad_option`, `not_found` for an adapters' folder that is not there,
 * `bad_adapter` for a merged adapter that cannot be used, `cancelled`, `device`.
 * @example
 * await using engine = await openEngine({ model: "assets/tiny-english" });
 * for await (const event of engine.complete("Once upon a time")) if (event.type === "token") process.stdout.write(event.text);
 */
export async function openEngine({
  model,
  inProcess = false,
  defaults: given = {},
  chatTemplateKwargs,
  silentSeconds = 30,
  onProgress = () => undefined,
  signal,
  now,
  hub,
  onDownload,
  ...settings
}: EngineOptions): Promise<Engine> {
  const laidOut = (text: LoadedText): LoadedText => ({
    ...text,
    template: withVariables(text.template, chatTemplateKwargs),
  });
  if (typeof model !== "string") {
    const text = laidOut(model.text);
    const defaults = answerDefaults(given, text.generation);
    const opened = await openCore({ ...settings, model }, { onProgress, signal });
    return createEngine({ ...opened, text, defaults });
  }
  const path = await locatedPath(model, { hub, onDownload, signal });
  const read = async (): Promise<{ readonly text: LoadedText; readonly defaults: AnswerDefaults }> => {
    const text = laidOut(await loadText(path, now));
    return { text, defaults: answerDefaults(given, text.generation) };
  };
  if (inProcess) {
    const textAndDefaults = await read();
    return createEngine({
      ...(await openCore({ ...settings, model: path }, { onProgress, signal })),
      ...textAndDefaults,
    });
  }
  // this process reads tokenizer and defaults while the other one opens the core, and ends that if it cannot
  const stop = new AbortController();
  // AbortSignal.any of Node 20 loses signals of AbortSignal.timeout
  const follow = (): void => stop.abort(signal?.reason);
  if (signal?.aborted === true) follow();
  signal?.addEventListener("abort", follow, { once: true });
  const calls = { onProgress, signal: stop.signal, silentSeconds };
  const opening = openWorkerCore({ ...settings, model: path }, calls);
  // it may fail before it is waited for
  void opening.catch(() => undefined).finally(() => signal?.removeEventListener("abort", follow));
  const textAndDefaults = await read().catch(async (cause: unknown) => {
    stop.abort(cause);
    await opening.then(
      ({ core }) => core[Symbol.asyncDispose](), // it was open just before
      () => undefined,
    );
    throw cause;
  });
  const engine = createEngine({ ...(await opening), ...textAndDefaults });
  if (signal?.aborted !== true) return engine;
  await engine[Symbol.asyncDispose]();
  throw new MosError("cancelled", "opening the engine was interrupted", { cause: signal.reason });
}

async function loadText(path: string, now: Date | undefined): Promise<LoadedText> {
  await using files = await openModel(path);
  return await loadModelText(files.source, { now }); // before the file is closed
}
