import { z } from "zod";
import { decodeText, MosError, parseWith } from "#common";
import { pathExists, readBytes } from "#files";
import { join } from "#platform";
import { type ChatTemplate, chatTemplate } from "./chat-template.ts";
import { type GenerationConfig, generationFromFolder, generationFromGguf } from "./generation-config.ts";
import { type GgufMetadata, stringAt } from "./gguf-metadata.ts";
import { endTokensFromGguf, tokenizerFromGguf } from "./gguf-tokenizer.ts";
import { type Pooling, poolingFromFolder, poolingFromGguf } from "./pooling.ts";
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
 * @example
 * const { tokenizer, template } = await loadTextFromFolder("models/SmolLM2-135M-Instruct");
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

/**
 * Tokenizer and chat template from a GGUF file's metadata.
 *
 * @throws MosError `bad_model` or `unsupported`, naming the key.
 */
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
