import { MosError } from "#core";
import { type LocateCalls, loadModelText, locatedPath, openModel } from "#models";
import { type LoadedText, type TemplateVariables, withVariables } from "#text";
import { answerDefaults, type DefaultsInput } from "./answer-defaults.ts";
import { createEngine } from "./engine-client.ts";
import { type CoreSettings, type OpenProgress, openCore } from "./open-core.ts";
import type { ModelWithText } from "./open-weights.ts";
import type { AnswerDefaults, Engine } from "./types.ts";
import { openWorkerCore } from "./worker-core.ts";

/** What an engine runs and where, and how opening is watched and stopped. */
export interface OpenEngineOptions extends Omit<CoreSettings, "model">, LocateCalls {
  /** A model folder, a .gguf file, org/name of the hub, or a model that is loaded already. */
  readonly model: string | ModelWithText;
  /**
   * Whether steps are computed on the thread that calls this, which they block. A loaded model always is; a path is not
   * unless this is set: its engine has a process of its own.
   */
  readonly inProcess?: boolean;
  /** How requests are answered that do not say it themselves; what is left out is as the model's files have it. */
  readonly defaults?: DefaultsInput | undefined;
  /** Variables of the model's chat template, such as `enable_thinking`; those of a request come before them. */
  readonly chatTemplateKwargs?: TemplateVariables | undefined;
  /** How long the engine's process may be silent before `isResponding` is false (30); 0 is for ever. */
  readonly silentSeconds?: number;
  /** The time for chat templates that print the date; without it they print the date they carry, or none. */
  readonly now?: Date | undefined;
  /** Called while the model is loaded and prepared. */
  readonly onProgress?: (progress: OpenProgress) => void;
  /** Stops opening; an open engine is closed by disposing it. */
  readonly signal?: AbortSignal | undefined;
}

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
}: OpenEngineOptions): Promise<Engine> {
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
    const text = laidOut(await textOf(path, now));
    return { text, defaults: answerDefaults(given, text.generation) };
  };
  if (inProcess) {
    const front = await read();
    return createEngine({
      ...(await openCore({ ...settings, model: path }, { onProgress, signal })),
      ...front,
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
  const front = await read().catch(async (cause: unknown) => {
    stop.abort(cause);
    await opening.then(
      ({ core }) => core[Symbol.asyncDispose](), // it was open just before
      () => undefined,
    );
    throw cause;
  });
  const engine = createEngine({ ...(await opening), ...front });
  if (signal?.aborted !== true) return engine;
  await engine[Symbol.asyncDispose]();
  throw new MosError("cancelled", "opening the engine was interrupted", { cause: signal.reason });
}

async function textOf(path: string, now: Date | undefined): Promise<LoadedText> {
  await using files = await openModel(path);
  return await loadModelText(files.source, { now }); // before the file is closed
}
