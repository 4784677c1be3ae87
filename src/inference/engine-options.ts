// The options of an engine, and what they resolve to.
import type { Adapter } from "#adapters";
import { parseSettings, type SettingInput, type SettingValues } from "#core";
import type { Device } from "#graph";
import type { ComputeDtype, LoadedModel, LocateCalls } from "#models";
import type { LoadedText, TemplateVariables } from "#text";
import type { DefaultsInput } from "./answer-defaults.ts";
import { defaultCompute, engineSettings } from "./settings.ts";

/** Progress of opening: bytes of the model read, adapters found, the programs compiled. Notes report other events. @inline */
export type OpenProgress =
  | {
      readonly type: "model" | "adapters" | "compile";
      readonly done: number;
      readonly total: number;
    }
  | { readonly type: "note"; readonly text: string };

/** A model that is loaded already. Its weights stay as they are. */
export interface ModelWithText {
  readonly model: LoadedModel;
  readonly text: LoadedText;
}

/** What an engine runs and where, how much of the machine it takes, and how opening is watched and stopped. */
export interface EngineOptions extends SettingInput<typeof engineSettings>, LocateCalls {
  /** A model folder, a .gguf file, org/name of the hub, or a model that is loaded already. */
  readonly model: string | ModelWithText;
  /** A folder that is watched, with one sub-folder for each adapter, or folders by the name of their adapter. */
  readonly adapters?: string | Readonly<Record<string, string>> | undefined;
  /**
   * An adapter, or its folder, that becomes part of the base: as fast as the base alone, which this engine lacks then.
   * Merging takes a second copy of a loaded model's linear layers; where they have more than 300 million numbers, an
   * adapter without others beside it is not merged but used, from a slot, by every request.
   */
  readonly mergedAdapter?: string | Adapter | undefined;
  /** A folder for packed weights of models whose own folder cannot be written; without it they are not cached then. */
  readonly cacheFolder?: string | undefined;
  /** Device of the steps ("cpu"). */
  readonly device?: Device | undefined;
  /**
   * Computes steps on the calling thread, which they block. A loaded model always is; a path is not
   * unless this is set: its engine has a process of its own.
   */
  readonly inProcess?: boolean;
  /** Defaults of requests; missing ones come from the model's files. */
  readonly defaults?: DefaultsInput | undefined;
  /** Variables of the model's chat template, such as `enable_thinking`; those of a request come before them. */
  readonly chatTemplateKwargs?: TemplateVariables | undefined;
  /** Timeout of the engine's heartbeat, after which `isResponding` is false (30); 0 disables it. */
  readonly silentSeconds?: number;
  /** The time for chat templates that print the date; without it they print the date they carry, or none. */
  readonly now?: Date | undefined;
  /** Called while the model is loaded and prepared. */
  readonly onProgress?: (progress: OpenProgress) => void;
  /** Stops opening; an open engine is closed by disposing it. */
  readonly signal?: AbortSignal | undefined;
}

/** The options that decide what a core is; they cross to the engine's process. */
export type CoreOptions<Model = string> = SettingInput<typeof engineSettings> &
  Pick<EngineOptions, "adapters" | "mergedAdapter" | "cacheFolder" | "device"> & { readonly model: Model };

/** The settings of an engine with everything that was left out, but what only the model and the machine decide. */
export interface ResolvedOptions extends Omit<SettingValues<typeof engineSettings>, "computeDtype"> {
  readonly computeDtype: ComputeDtype;
  /** Whether slots hold adapters. */
  readonly adapters: boolean;
}

/**
 * Fills in and checks.
 *
 * @throws MosError `bad_option` with the setting's name, what was given, and what would be accepted.
 */
export function resolveOptions(
  given: SettingInput<typeof engineSettings>,
  adapters: boolean,
): ResolvedOptions {
  const settings = parseSettings(engineSettings, given);
  const { baseDtype, computeDtype = defaultCompute(baseDtype) } = settings;
  return { ...settings, computeDtype, adapters };
}
