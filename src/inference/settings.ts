import { MosError } from "#core";
import type { ResidentDtype } from "./adapters/index.ts";
import type { Quantize } from "./base-weights.ts";

/** What an engine serves, and how much of the machine it takes. */
export interface EngineSettings {
  /** A model folder or a .gguf file. */
  readonly model: string;
  /** A folder with one sub-folder for each adapter. */
  readonly adapters?: string;
  readonly quantize?: Quantize;
  /** Bytes of resident adapters (2 GB). */
  readonly adapterMemory?: number;
  /** How resident adapters keep their numbers ("float32"). */
  readonly adapterDtype?: ResidentDtype;
  /** Requests that run side by side (16). */
  readonly maxBatch?: number;
  /** The longest sequence: 4,096 tokens, or fewer where the model has fewer. */
  readonly maxLength?: number;
  /** Requests of one tenant that may wait (256). */
  readonly maxWaiting?: number;
  /** Bytes of keys and values (4 GB). */
  readonly cacheMemory?: number;
  /** Bytes of the slots of running adapters (2 GB). */
  readonly slotMemory?: number;
  /** Threads of a step; 0 lets the runtime choose. */
  readonly threads?: number;
}

/** The settings with everything that was left out. */
export type FullSettings = Required<Omit<EngineSettings, "adapters" | "maxLength">> &
  Pick<EngineSettings, "adapters" | "maxLength">;

const DEFAULTS = {
  quantize: "none",
  adapterMemory: 2e9,
  adapterDtype: "float32",
  maxBatch: 16,
  maxWaiting: 256,
  cacheMemory: 4e9,
  slotMemory: 2e9,
  threads: 0,
} as const;

const SMALLEST = {
  adapterMemory: 0,
  maxBatch: 1,
  maxWaiting: 1,
  cacheMemory: 1,
  slotMemory: 1,
  threads: 0,
};

const CHOICES = {
  quantize: ["none", "int8", "int4"],
  adapterDtype: ["float32", "bfloat16"],
} as const satisfies {
  quantize: readonly Quantize[];
  adapterDtype: readonly ResidentDtype[];
};

/** Fills in and checks. Throws `bad_option`. */
export function fullSettings(given: EngineSettings): FullSettings {
  const settings = { ...DEFAULTS, ...given };
  for (const [name, smallest] of Object.entries({
    ...SMALLEST,
    ...(given.maxLength === undefined ? {} : { maxLength: 2 }),
  })) {
    const value: unknown = settings[name as keyof typeof SMALLEST];
    if (!(typeof value === "number" && Number.isSafeInteger(value) && value >= smallest))
      throw new MosError(
        "bad_option",
        `${name} is ${value}; it must be a whole number of at least ${smallest}`,
      );
  }
  for (const [name, choices] of Object.entries(CHOICES)) {
    const value: string = settings[name as keyof typeof CHOICES];
    if (!(choices as readonly string[]).includes(value))
      throw new MosError("bad_option", `${name} is ${value}; it must be one of ${choices.join(", ")}`);
  }
  return settings;
}
