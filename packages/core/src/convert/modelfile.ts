// What other programs need besides weights to answer alike, and the Modelfile in which Ollama takes it.
import { MosError } from "#common";
import { writeFileAtomic } from "#files";
import { loadText } from "#models";
import { basename, dirname, join, resolve } from "#platform";
import { defaultSystem, goTemplate } from "#text";

/** How a model is talked to. */
export interface ChatFacts {
  /** The system message of conversations without one; null for none. */
  readonly system: string | null;
  /** Tokens that end an answer. */
  readonly stops: readonly string[];
  /** The chat template in Go's language; null where no such one says the same. */
  readonly template: string | null;
}

/** Those of a model; undefined where its tokenizer cannot be read. */
export async function chatFacts(model: string): Promise<ChatFacts | undefined> {
  try {
    const { tokenizer, template } = await loadText(model);
    const stops = tokenizer.eosTokens.flatMap((id) => tokenizer.idToToken(id) ?? []);
    return { system: defaultSystem(template) ?? null, stops, template: goTemplate(template, tokenizer) };
  } catch (cause) {
    if (cause instanceof MosError) return undefined;
    throw cause;
  }
}

/** The Modelfile beside a GGUF file. */
export const modelfilePath = (out: string): string =>
  join(dirname(out), `${basename(out).replace(/\.gguf$/i, "")}.Modelfile`);

/** The GGUF file of a base: itself, or the one to be made of a folder. */
export const baseFile = (model: string): string =>
  model.toLowerCase().endsWith(".gguf") ? resolve(model) : "./base.gguf";

/** Writes the Modelfile of an adapter, or of a merged model, beside it, and gives its path. */
export async function writeModelfile(
  out: string,
  { model, kind }: { readonly model: string; readonly kind: "adapter" | "model" },
): Promise<string> {
  const own = `./${basename(out)}`;
  const { system = null, stops = [], template = null } = (await chatFacts(model)) ?? {};
  const path = modelfilePath(out);
  const lines = [
    ...(kind === "model" ? [`FROM ${own}`] : [`FROM ${baseFile(model)}`, `ADAPTER ${own}`]),
    ...(template === null ? [] : [`TEMPLATE """${template}"""`]),
    // quotes have no escape there: a message that could end them is not written
    ...(system === null || /"""|"$/.test(system) ? [] : [`SYSTEM """${system}"""`]),
    ...stops.map((stop) => `PARAMETER stop ${JSON.stringify(stop)}`),
    "PARAMETER temperature 0",
  ];
  await writeFileAtomic(path, `${lines.join("\n")}\n`);
  return path;
}
