// The grammars of an engine's requests: compiled in a worker, and sent to the core once.
import {
  type CompiledSource,
  type CompileOptions,
  GrammarCompiler,
  GrammarError,
  type GrammarSource,
} from "mixture-of-shards-grammar";
import { errorText, MosError } from "#common";
import type { Tokenizer } from "#text";
import type { GrammarStats } from "./types.ts";

interface ClientGrammarOptions {
  readonly tokenizer: Pick<Tokenizer, "tokenToId" | "isSpecial">;
  /** Sends a grammar, serialised, to the core, or has it forgotten. */
  readonly send: (digest: string, grammar: Uint8Array | undefined) => void;
  /** Bytes of grammars that the core keeps (64 MB). */
  readonly limitBytes?: number;
}

/** Compiles grammars, and knows which of them the core has. */
export class ClientGrammars implements AsyncDisposable {
  readonly #options: ClientGrammarOptions;
  /** Its thread starts with the first grammar. */
  readonly #compiler = new GrammarCompiler();
  /** Sizes of those that the core has; the one that was used last comes last. */
  readonly #sent = new Map<string, number>();
  #unknownTokens = 0;

  constructor(options: ClientGrammarOptions) {
    this.#options = options;
  }

  /**
   * Compiles a grammar and sends it to the core, unless that has it.
   *
   * @throws MosError `bad_option` with the reason, a `GrammarError`, as its cause; `busy` where too many of the tenant's wait; `device`
   *   where the compiler failed.
   */
  async digest(source: GrammarSource, options: CompileOptions): Promise<string> {
    const { digest, serialized } = await this.compile(source, options);
    this.#send(digest, serialized);
    return digest;
  }

  /** Compiles a grammar. Throws as `digest`. */
  async compile(source: GrammarSource, options?: CompileOptions): Promise<CompiledSource> {
    try {
      return await this.#compiler.compile(this.#nameTokens(source), options);
    } catch (cause) {
      if (cause instanceof GrammarError && cause.code === "busy") throw new MosError("busy", cause.message);
      if (cause instanceof GrammarError) throw new MosError("bad_option", cause.message, { cause });
      throw new MosError("device", `the grammar could not be compiled: ${errorText(cause)}`, { cause });
    }
  }

  stats(): Pick<GrammarStats, "compiled" | "hits" | "compileSeconds" | "refused"> {
    const { compiles, hits, seconds, refusals } = this.#compiler.stats();
    const unknown = this.#unknownTokens;
    const refused = { ...refusals, ...(unknown === 0 ? {} : { special_token: unknown }) };
    return { compiled: compiles, hits, compileSeconds: seconds.sum, refused };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#compiler[Symbol.asyncDispose]();
  }

  #send(digest: string, grammar: Uint8Array): void {
    const { send, limitBytes = 64e6 } = this.#options;
    const isNew = !this.#sent.delete(digest);
    let total = [...this.#sent.values()].reduce((sum, one) => sum + one, grammar.length);
    for (const [oldest, its] of this.#sent) {
      if (total <= limitBytes) break;
      this.#sent.delete(oldest);
      send(oldest, undefined);
      total -= its;
    }
    this.#sent.set(digest, grammar.length);
    if (isNew) send(digest, grammar);
  }

  /**
   * The source with each special token as the model has it: one that its vocabulary counts as text is text. Throws GrammarError for
   * one that the vocabulary does not have.
   */
  #nameTokens(source: GrammarSource): GrammarSource {
    const name = (part: GrammarSource): GrammarSource => this.#nameTokens(part);
    if (source.type === "special_token") return this.#nameToken(source);
    if (source.type === "sequence" && Array.isArray(source.parts))
      return { ...source, parts: source.parts.map(name) };
    if (source.type === "any_of" && Array.isArray(source.options))
      return { ...source, options: source.options.map(name) };
    if (source.type !== "repeat" || source.of === undefined) return source;
    const { separator } = source;
    return {
      ...source,
      of: name(source.of),
      ...(separator === undefined ? {} : { separator: name(separator) }),
    };
  }

  #nameToken(source: Extract<GrammarSource, { type: "special_token" }>): GrammarSource {
    const { tokenizer } = this.#options;
    const id = tokenizer.tokenToId(source.token);
    if (id !== undefined) return tokenizer.isSpecial(id) ? source : { type: "text", text: source.token };
    this.#unknownTokens++;
    const keyword = "special_token";
    const message = `the model's vocabulary has no token ${JSON.stringify(source.token)}`;
    throw new GrammarError("bad_grammar", message, { keyword });
  }
}
