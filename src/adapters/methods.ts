import { z } from "zod";
import { MosError, show } from "#core";
import type { Site } from "#graph";
import { type LoraConfig, lora } from "./lora.ts";
import type {
  AdapterGeometry,
  AdapterMethod,
  CommonConfig,
  FactorOptions,
  Factors,
  FolderForm,
  RoutingTable,
  TensorSpec,
} from "./method.ts";
import { type MosConfig, mos } from "./mos.ts";
import { type ProloraConfig, prolora } from "./prolora.ts";
import { type PureSharingConfig, pureSharing } from "./pure-sharing.ts";
import { type RandomScalingConfig, randomScaling } from "./random-scaling.ts";
import { type SubsetSelectionConfig, subsetSelection } from "./subset-selection.ts";
import { type TiedLoraConfig, tiedLora } from "./tied-lora.ts";
import { type VeraConfig, vera } from "./vera.ts";

/** Names in a sentence: "a, b or c". */
export const anyOf = (names: readonly string[]): string =>
  [names.slice(0, -1).join(", "), names.at(-1)].filter((part) => part !== "").join(" or ");

/** Settings of any method, defaults filled in. */
export type AdapterConfig =
  | LoraConfig
  | MosConfig
  | PureSharingConfig
  | RandomScalingConfig
  | SubsetSelectionConfig
  | VeraConfig
  | TiedLoraConfig
  | ProloraConfig;
/** A name that `--method` takes. */
export type MethodName = AdapterConfig["method"];

type Table = { readonly [M in MethodName]: AdapterMethod<Extract<AdapterConfig, { readonly method: M }>> };

/** Every method that there is. A missing row does not compile; nothing else asks for a method's name. */
export const methods = {
  lora,
  mos,
  "pure-sharing": pureSharing,
  "random-scaling": randomScaling,
  "subset-selection": subsetSelection,
  vera,
  "tied-lora": tiedLora,
  prolora,
} satisfies Table;

/** All of them. */
export const METHOD_NAMES = Object.keys(methods) as readonly MethodName[];

/** The method of whoever names none. */
export const DEFAULT_METHOD = "mos" satisfies MethodName;

/** Settings before defaults are filled in. */
export type AdapterConfigInput = {
  readonly [M in MethodName]: { readonly method: M } & {
    readonly [K in keyof Omit<Extract<AdapterConfig, { readonly method: M }>, "method">]?:
      | Extract<AdapterConfig, { readonly method: M }>[K]
      | undefined;
  };
}[MethodName];

/** A method with its settings filled in. */
export interface BoundMethod {
  check(geometry: AdapterGeometry): void;
  tensors(geometry: AdapterGeometry): readonly TensorSpec[];
  factors(options: FactorOptions): (site: Site) => Factors | undefined;
  /** None for a method that does not route. */
  routing(geometry: AdapterGeometry): readonly RoutingTable[];
  readonly peftType: string;
  fields(): Readonly<Record<string, unknown>>;
  tensorName(name: string): string;
}

function bind<C extends CommonConfig>(
  { check, tensors, factors, folder, routing }: AdapterMethod<C>,
  config: C,
): BoundMethod {
  const form: FolderForm<C> = folder;
  const values = new Map<string, unknown>(Object.entries(config));
  return {
    check: (geometry) => check(config, geometry),
    tensors: (geometry) => tensors(config, geometry),
    factors: (options) => factors(config, options),
    routing: (geometry) => routing?.(config, geometry) ?? [],
    peftType: form.peftType,
    fields: () => ({
      ...form.constants,
      ...Object.fromEntries(
        Object.entries<string>(form.settings).map(([name, field]) => [field, values.get(name)]),
      ),
    }),
    tensorName: form.tensorName,
  };
}

/** The method of these settings, bound to them. */
export function methodOf(config: AdapterConfig): BoundMethod {
  const method: AdapterMethod<AdapterConfig> = methods[config.method];
  return bind(method, config);
}

/** Why settings do not fit a model; undefined where they do. */
export function problemOf(config: AdapterConfig, geometry: AdapterGeometry): string | undefined {
  try {
    methodOf(config).check(geometry);
    return undefined;
  } catch (error) {
    if (error instanceof MosError) return error.message;
    throw error;
  }
}

/** How the folders of a method are read, without its settings. */
export interface FolderMethod {
  readonly name: MethodName;
  /** What the folder calls the settings that only this method has. */
  readonly settings: Readonly<Record<string, string>>;
  readonly isKnownToPeft: boolean;
}

/** The method of a folder's peft_type. */
export function methodOfFolder(peftType: string): FolderMethod | undefined {
  const name = METHOD_NAMES.find((known) => methods[known].folder.peftType === peftType);
  if (name === undefined) return undefined;
  const { settings, isKnownToPeft } = methods[name].folder;
  return { name, settings, isKnownToPeft };
}

const bad = (message: string, cause?: unknown): MosError => new MosError("bad_config", message, { cause });

/** What a file calls settings, where it calls them something else. */
type Names = Readonly<Record<string, string>>;

/** The first issue of a failed parse, as a message. */
function describeIssue(method: MethodName, error: z.ZodError, called: Names): string {
  const [issue] = error.issues;
  const [setting = "", ...inside] = (issue?.path ?? []).map(String);
  const field = [called[setting] ?? setting, ...inside].join(".");
  if (issue?.code !== "unrecognized_keys")
    return `${field === "" ? "" : `${field} `}${show(issue?.input)} is invalid; ${issue?.message}`;
  const known = Object.keys(methods[method].example).filter((key) => key !== "method");
  const keys = issue.keys.map((key) => JSON.stringify(key)).join(", ");
  return `${keys} ${issue.keys.length === 1 ? "is not a setting" : "are not settings"} of ${method}; it has ${known.join(", ")}`;
}

/** Settings from outside. Throws `bad_config` with the field, what was given, and what would do. */
export function parseAdapterConfig(input: unknown, where = "adapter", called: Names = {}): AdapterConfig {
  const object = z.looseObject({ method: z.unknown().optional() }).safeParse(input);
  if (!object.success)
    throw bad(`${where}: ${show(input)} is invalid; give an object with a method and its settings`);
  const name = object.data.method;
  const method = METHOD_NAMES.find((known) => known === name);
  if (method === undefined)
    throw bad(
      `${where}: ${name === undefined ? "method is missing" : `method ${show(name)} is not known`}; it can be ${anyOf(METHOD_NAMES)}`,
    );
  const parsed = methods[method].schema.safeParse(input, { reportInput: true });
  if (parsed.success) return parsed.data;
  throw bad(`${where}: ${describeIssue(method, parsed.error, called)}`, parsed.error);
}
