// What a model's files say of text: tokenizer, chat template, defaults of sampling, and pooling of embeddings.
import { z } from "zod";
import { decodeText, MosError, parseWith } from "#common";
import { pathExists, readBytes, readJson } from "#files";
import { join } from "#platform";
import { type ChatTemplate, chatTemplate } from "./chat-template.ts";
import { type GgufMetadata, stringAt } from "./gguf-metadata.ts";
import { endTokensFromGguf, tokenizerFromGguf } from "./gguf-tokenizer.ts";
import { readTokenizerFiles, type Tokenizer, tokenizerFromJson } from "./tokenizer.ts";

/** The tokenizer and the chat template of a model, and how it is meant to answer and to embed. */
export interface LoadedText {
  /** Its `eosTokens` are the tokenizer's own, then all others that end a turn. */
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
  readonly generation: GenerationConfig;
  /** Pooling of embeddings, or the reason why the model has none. */
  readonly pooling: Pooling | MosError;
}

/** Options of rendering text. */
export interface LoadTextOptions {
  /** The time for chat templates that print the date; without it they print the one that they contain. */
  readonly now?: Date | undefined;
}

const templates = z.looseObject({
  chat_template: z
    .union([z.string(), z.array(z.looseObject({ name: z.string(), template: z.string() }))])
    .nullish(),
});

/**
 * Tokenizer and chat template of a Hugging Face folder. Reads tokenizer.json and tokenizer_config.json, and where they
 * exist chat_template.jinja and generation_config.json.
 *
 * @throws MosError `not_found`, `bad_model`, `unsupported` or `storage`, naming the file.
 */
export async function loadTextFromFolder(folder: string, { now }: LoadTextOptions = {}): Promise<LoadedText> {
  const files = await readTokenizerFiles(folder);
  const tokenizer = inFolder(folder, () => tokenizerFromJson(files));
  const found = await folderTemplate(folder, files.config);
  const [generation, pooling] = [await generationFromFolder(folder), await poolingFromFolder(folder)];
  return joined({ tokenizer, generation, pooling }, { ...found, now });
}

/** Errors of a tokenizer name its file; this adds the folder. */
function inFolder<T>(folder: string, make: () => T): T {
  try {
    return make();
  } catch (cause) {
    if (!(cause instanceof MosError)) throw cause;
    throw new MosError(cause.code, join(folder, cause.message), { cause });
  }
}

/** Tokenizer and chat template from a GGUF file's metadata. Throws `bad_model` or `unsupported`, naming the key. */
export function textFromGguf(metadata: GgufMetadata, { now }: LoadTextOptions = {}): LoadedText {
  const tokenizer = tokenizerFromGguf(metadata);
  const template = stringAt(metadata, "tokenizer.chat_template");
  const generation = generationFromGguf(metadata, endTokensFromGguf(metadata));
  const name = "the GGUF file's chat template";
  return joined({ tokenizer, generation, pooling: poolingFromGguf(metadata) }, { template, name, now });
}

async function folderTemplate(folder: string, config: unknown) {
  const path = join(folder, "chat_template.jinja");
  if (await pathExists(path)) {
    const bytes = await readBytes(path, { code: "bad_model" });
    return { template: decodeText(bytes, { code: "bad_model", where: path }), name: path };
  }
  const name = join(folder, "tokenizer_config.json");
  const { chat_template: found } = parseWith(templates, config, { code: "bad_model", where: name });
  if (typeof found === "string") return { template: found, name: `the chat template of ${name}` };
  const chosen = found?.find((entry) => entry.name === "default") ?? found?.[0];
  return { template: chosen?.template, name: `the chat template "${chosen?.name}" of ${name}` };
}

function joined(
  { tokenizer, generation, pooling }: Omit<LoadedText, "template">,
  found: Omit<Parameters<typeof chatTemplate>[0], "tokenizer">,
): LoadedText {
  const template = chatTemplate({ ...found, tokenizer });
  const turnEnd = endOfTurn(template, tokenizer);
  const ends = [...tokenizer.eosTokens, ...generation.endTokens, ...(turnEnd === undefined ? [] : [turnEnd])];
  const eosTokens = [...new Set(ends)].filter((id) => tokenizer.idToToken(id) !== undefined);
  return { tokenizer: { ...tokenizer, eosTokens }, template, generation, pooling };
}

/** The special token with which the template ends an assistant message, if there is one. */
function endOfTurn(template: ChatTemplate, tokenizer: Tokenizer): number | undefined {
  const content = "Fine.";
  const text = renderProbe(template, content);
  const after = text.slice(text.lastIndexOf(content) + content.length).trimStart();
  const first = tokenizer.encode(after, { addSpecialTokens: false })[0];
  return first !== undefined &&
    tokenizer.isSpecial(first) &&
    after.startsWith(tokenizer.idToToken(first) ?? "")
    ? first
    : undefined;
}

/** A template that fails for this conversation reports it when it is used: loading the model must not fail. */
function renderProbe(template: ChatTemplate, content: string): string {
  try {
    return template.render([
      { role: "user", content: "How are you?" },
      { role: "assistant", content },
    ]);
  } catch {
    return "";
  }
}

/**
 * Generation defaults in a model's files, unvalidated: the reader of a field validates it, so that a broken field is in
 * nobody else's way.
 */
export interface GenerationConfig {
  /** The file, for messages. */
  readonly where: string;
  /** Without the fields that the file leaves out. A temperature of 0 is greedy decoding. */
  readonly sampling: Readonly<
    Partial<Record<"temperature" | "topP" | "topK" | "minP" | "repetitionPenalty", unknown>>
  >;
  /** Most tokens of an answer. */
  readonly maxTokens?: unknown;
  /** Ids that end an answer beside the tokenizer's own. */
  readonly endTokens: readonly number[];
}

const code = "bad_model";
const folderSchema = z.looseObject({ eos_token_id: z.union([z.int(), z.array(z.int())]).nullish() });

/** -1 and 0 keep all tokens, and the smallest set of tokens that reaches 0 is the likeliest one. */
function toSampling({ topK, topP, ...more }: GenerationConfig["sampling"]): GenerationConfig["sampling"] {
  const all = {
    ...more,
    topK: topK === -1 ? 0 : topK,
    ...(topP === 0 ? { temperature: 0 } : { topP }),
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined && value !== null));
}

/** Hugging Face writes only what differs from its defaults, of which the temperature is 1. */
function readTemperature(do_sample: unknown, temperature: unknown): unknown {
  if (do_sample === false) return 0;
  if (do_sample === true) return temperature ?? 1;
  // nobody knows what it should be; as a temperature it is refused where one is needed, and shown
  return do_sample === undefined || do_sample === null ? temperature : { do_sample };
}

/** Throws `bad_model` for a file that is no JSON object, and for end tokens that are none. */
export async function generationFromFolder(folder: string): Promise<GenerationConfig> {
  const where = join(folder, "generation_config.json");
  if (!(await pathExists(where))) return { where, sampling: {}, endTokens: [] };
  const found = await readJson(where, folderSchema, { code });
  const { eos_token_id, max_new_tokens, do_sample, temperature } = found;
  return {
    where,
    sampling: toSampling({
      temperature: readTemperature(do_sample, temperature),
      topP: found["top_p"],
      topK: found["top_k"],
      minP: found["min_p"],
      repetitionPenalty: found["repetition_penalty"],
    }),
    ...(max_new_tokens === undefined || max_new_tokens === null ? {} : { maxTokens: max_new_tokens }),
    endTokens: typeof eos_token_id === "number" ? [eos_token_id] : (eos_token_id ?? []),
  };
}

/** GGUF keeps numbers in 32 bits; this is 0.95 again where that was meant. */
function rounded(value: unknown): unknown {
  if (typeof value === "bigint") return Number(value);
  return typeof value === "number" ? Number(value.toPrecision(7)) : value;
}

/** By the keys that llama.cpp reads. */
export function generationFromGguf(metadata: GgufMetadata, endTokens: readonly number[]): GenerationConfig {
  const found = (key: string): unknown => rounded(metadata[`general.sampling.${key}`]);
  return {
    where: "the GGUF file's metadata",
    sampling: toSampling({
      temperature: found("temp"),
      topP: found("top_p"),
      topK: found("top_k"),
      minP: found("min_p"),
      repetitionPenalty: found("penalty_repeat"),
    }),
    endTokens,
  };
}

/** Hidden state of the last token, or the mean of all. @inline */
export type Pooling = "last" | "mean";

const modulesSchema = z.array(z.looseObject({ type: z.string(), path: z.string() }));
const poolingSchema = z.looseObject({ pooling_mode: z.union([z.string(), z.array(z.string())]).optional() });

/** Names of sentence-transformers up to version 5, each a flag, and since version 6. */
const POOLINGS: ReadonlyMap<string, Pooling> = new Map([
  ["pooling_mode_lasttoken", "last"],
  ["pooling_mode_mean_tokens", "mean"],
  ["lasttoken", "last"],
  ["mean", "mean"],
]);

/** Values of `<architecture>.pooling_type`, llama.cpp's enum. Of 0, no pooling, nothing is left to do but the default. */
const GGUF_POOLINGS: Readonly<Record<string, Pooling>> = { 0: "last", 1: "mean", 3: "last" };

const unsupported = (where: string, what: string): MosError =>
  new MosError("unsupported", `${where}: ${what}, so this model cannot embed texts here`);

/** A module's folder, which is in the model's own. Throws `unsupported` for a path that leads elsewhere. */
function moduleFolder(folder: string, path: string): string {
  if (/^([\w-][\w.-]*)?$/.test(path)) return join(folder, path);
  throw unsupported(join(folder, "modules.json"), `${JSON.stringify(path)} is not the name of a folder`);
}

const textSchema = z.looseObject({ modality_config: z.looseObject({}).nullish() });

/** Since version 6, a model can say that texts are messages to its chat template. */
async function checkPlainText(folder: string): Promise<void> {
  const where = join(folder, "sentence_bert_config.json");
  if (!(await pathExists(where))) return;
  const { modality_config } = await readJson(where, textSchema, { code: "bad_model" });
  if (modality_config?.["message"] !== undefined)
    throw unsupported(where, 'modality_config has "message": texts in a chat template are not supported');
}

async function readPooling(folder: string): Promise<Pooling> {
  const where = join(folder, "modules.json");
  if (!(await pathExists(where))) return "last";
  const modules = await readJson(where, modulesSchema, { code: "bad_model" });
  const kinds = modules.map(({ type, path }) => ({ kind: type.split(".").at(-1), path }));
  const odd = kinds.find(({ kind }) => !["Transformer", "Pooling", "Normalize"].includes(kind ?? ""));
  if (odd !== undefined) throw unsupported(where, `modules of the type ${odd.kind} are not supported`);
  const [text, pooling] = ["Transformer", "Pooling"].map((name) => kinds.find(({ kind }) => kind === name));
  if (text === undefined || pooling === undefined)
    throw unsupported(where, "there is no module of the type Transformer or none of the type Pooling");
  await checkPlainText(moduleFolder(folder, text.path));
  const config = join(moduleFolder(folder, pooling.path), "config.json");
  const { pooling_mode, ...flags } = await readJson(config, poolingSchema, { code: "bad_model" });
  const set = Object.keys(flags).filter((name) => name.startsWith("pooling_mode_") && flags[name] === true);
  const modes = pooling_mode === undefined ? set : [pooling_mode].flat();
  const found = modes.length === 1 ? POOLINGS.get(modes[0] ?? "") : undefined;
  if (found !== undefined) return found;
  throw unsupported(
    config,
    `the pooling ${modes.join(" with ") || "of no mode"} is not supported; supported are lasttoken and mean`,
  );
}

/** Pooling of a folder's model, the last token's by default; or the error for what is not supported, which chat need not know. */
export async function poolingFromFolder(folder: string): Promise<Pooling | MosError> {
  try {
    return await readPooling(folder);
  } catch (cause) {
    if (cause instanceof MosError) return cause;
    throw cause;
  }
}

/** The same of a GGUF file. */
export function poolingFromGguf(metadata: GgufMetadata): Pooling | MosError {
  const key = `${String(metadata["general.architecture"])}.pooling_type`;
  const type = metadata[key] ?? 0;
  return (
    GGUF_POOLINGS[String(type)] ??
    unsupported(
      "the GGUF file's metadata",
      `${key} ${String(type)} is not supported; 1 (mean) and 3 (last) are`,
    )
  );
}
