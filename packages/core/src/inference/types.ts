// The contract between the engine and its callers (server, evaluation, programs): requests go in, events come out.
import type { GrammarSource } from "mixture-of-shards-grammar";
import type { TrainedOn } from "#adapters";
import type { MemoryPlan, MosError } from "#common";
import type { BaseDtype, ComputeDtype } from "#models";
import type {
  AnswerDelta,
  CallLayout,
  ChatMessage,
  LoadedText,
  Pooling,
  ResponseFormat,
  Tool,
  ToolCall,
  ToolChoice,
} from "#text";

/** Options for choosing the next token. The defaults decode greedily. @inline */
export interface SamplingOptions {
  /** 0 takes the most likely token. */
  readonly temperature?: number | undefined;
  /** Keep the smallest set of tokens whose probabilities reach this sum; 1 keeps all. */
  readonly topP?: number | undefined;
  /** Keep this many tokens; 0 keeps all. */
  readonly topK?: number | undefined;
  /** Keep tokens at least this likely as a share of the most likely one; 0 keeps all. */
  readonly minP?: number | undefined;
  /** Logits of tokens seen before are divided (if positive) or multiplied by this; 1 changes nothing. */
  readonly repetitionPenalty?: number | undefined;
  /** Taken off the logits of tokens that the answer has already; 0 changes nothing. */
  readonly presencePenalty?: number | undefined;
  /** The same, once for each time that the answer has the token. */
  readonly frequencyPenalty?: number | undefined;
  /** Added to the logits of these token ids. */
  readonly logitBias?: ReadonlyMap<number, number> | undefined;
}

/** One completion of one prompt. A caller that wants n of them submits n requests. */
export interface EngineRequest {
  /** Token ids; at least one. */
  readonly prompt: readonly number[];
  /** The registered name of an adapter; null, the default, is the base. */
  readonly adapter?: string | null;
  /** Maximum number of tokens to generate (the engine's default, cut to what fits); 0 only scores the prompt. */
  readonly maxTokens?: number | undefined;
  /** Sampling options; missing ones are the engine's defaults. */
  readonly sampling?: SamplingOptions;
  /** Seed of the request's own random numbers (0): the same request with the same seed gets the same answer. */
  readonly seed?: number;
  /**
   * A description of the texts that the answer may be. The answer ends where nothing can follow, by an end token exactly where it may
   * end, and anywhere by its length, a stop text or a stop token. `minTokens` does not keep it from ending where it must.
   */
  readonly grammar?: GrammarSource | undefined;
  /** Where calls of tools stand in the answer, which ends where one would be repeated with the same arguments. */
  readonly calls?: CallLayout | undefined;
  /** Texts that end the answer and are not part of it. */
  readonly stop?: readonly string[];
  /** Token ids that end the answer as end-of-sequence tokens do. */
  readonly stopTokens?: readonly number[];
  /** Continues past end-of-sequence tokens; not with a grammar. */
  readonly ignoreEos?: boolean;
  /** Until the answer has this many tokens (0), no end-of-sequence token is chosen, and nothing stops it. */
  readonly minTokens?: number;
  /** The answer continues the prompt's text, rather than being a text of its own. */
  readonly continuesPrompt?: boolean;
  /** Log-probabilities of the answer's tokens with this many likely alternatives; left out, none are computed. */
  readonly logprobs?: number;
  /** The same of the prompt's tokens, which costs the output head at every position. */
  readonly promptLogprobs?: number;
  /** Token ids whose log-probabilities after the prompt are reported, however unlikely: a choice between them. */
  readonly candidates?: readonly number[];
  /** Pooling of the prompt's hidden states into an embedding, in place of an answer. */
  readonly pooling?: Pooling;
  /**
   * The unit of fairness ("default"): when there are more requests than slots, tenants alternate, each in its own order.
   * Prefixes are shared within a tenant only, since response times could reveal one tenant's prompts to another.
   */
  readonly tenant?: string;
  readonly signal?: AbortSignal | undefined;
}

/** Fields without a default. */
type OptionalField = "calls" | "logprobs" | "promptLogprobs" | "candidates" | "pooling";

/** A request with its defaults filled in, and its grammar by the digest; the signal stays with the caller. */
export type FullRequest = Required<Omit<EngineRequest, "signal" | "maxTokens" | "grammar" | OptionalField>> &
  Pick<EngineRequest, OptionalField> & {
    readonly maxTokens: number;
    readonly grammar?: string;
    /** The end token is the last token of the answer, too (false). Its text is empty. */
    readonly keepsEnd?: boolean;
  };

/** A token with its natural log-probability and the likeliest alternatives, from the unmodified logits. */
export interface TokenLogprob {
  readonly id: number;
  /** null at the first token of a prompt, which nothing predicts. */
  readonly logprob: number | null;
  readonly top: readonly { readonly id: number; readonly logprob: number }[];
}

/** A row [id, ln p, id, ln p, …] for each token, its own first and then the likeliest; NaN where nothing stands. */
export type PackedLogprobs = Float64Array;

/** Reason for the end of an answer: an end token, a stop text or a repeated call, its length, or the caller's signal. @inline */
export type FinishReason = "end" | "stop" | "length" | "cancelled";

/**
 * Event of a request, in this order: `scheduled`, perhaps `prompt` and `candidates`, any `token`s or an `embedding`, `finish`. The
 * answer is the `text` of `token` and `finish`, joined. `unpackLogprobs` reads the log-probabilities of `prompt` and `token`.
 */
export type EngineEvent =
  /** It has a slot now. `digest` says which content of the adapter answers; null is the base. */
  | { readonly type: "scheduled"; readonly digest: string | null }
  /** Natural log-probabilities of the request's candidates after the prompt, in their order. */
  | { readonly type: "candidates"; readonly logprobs: readonly number[] }
  /** All of the prompt's tokens, where the request asks for them. */
  | { readonly type: "prompt"; readonly tokens: number; readonly logprobs: PackedLogprobs }
  /** The embedding of the prompt, with length 1. */
  | { readonly type: "embedding"; readonly vector: Float32Array }
  /** A token, and the text that is final with it: never half a character, and never the possible start of a stop string. */
  | {
      readonly type: "token";
      readonly id: number;
      readonly text: string;
      readonly logprobs?: PackedLogprobs;
    }
  | {
      readonly type: "finish";
      readonly finishReason: FinishReason;
      /** The stop text that ended it. */
      readonly stop?: string;
      /** Why it was cancelled: the reason of the caller's signal. */
      readonly cause?: unknown;
      /** Text that was held back until the end. */
      readonly text: string;
      readonly usage: EngineUsage;
    };

/** Usage of a request. @inline */
export interface EngineUsage {
  readonly promptTokens: number;
  /** Tokens of the prompt whose keys and values another request had computed. */
  readonly cachedTokens: number;
  readonly completionTokens: number;
  /** Seconds from submission to a slot, and to the first token (or to the end without one). */
  readonly queuedSeconds: number;
  readonly firstTokenSeconds: number;
  /** Number of the engine's step that gave the first token; left out where none came. */
  readonly firstTokenStep?: number;
}

/** A registered adapter as callers see it. */
export interface AdapterInfo {
  readonly name: string;
  /** Digest of the adapter's files: another content has another digest. */
  readonly digest: string;
  readonly method: string;
  readonly rank: number;
  /** Settings that only some methods have. */
  readonly equivalentRank?: number | undefined;
  readonly privateRank?: number | undefined;
  /** Types of the linear layers that it changes. */
  readonly targets: readonly string[];
  /** Numbers and tables in memory, in bytes. */
  readonly residentBytes: number;
  /** Both files on disk, in bytes. */
  readonly sizeBytes: number;
  /** Seconds since 1970. */
  readonly changedAt: number;
  /** Set if that is another quantisation of the engine's model, or has other token ids. */
  readonly trainedOn?: TrainedOn;
}

/** A folder among the adapters that cannot be used. */
export interface RefusedAdapter {
  readonly name: string;
  /** For operators. It names files by the folder's own name, without the path to it. */
  readonly reason: string;
}

/** Grammars of requests since the engine started. */
export interface GrammarStats {
  /** Compilations, and requests that found the result of an earlier one. */
  readonly compiled: number;
  readonly hits: number;
  readonly compileSeconds: number;
  /** Requests that were refused because of their grammar, by the keyword or else the error's code. */
  readonly refused: Readonly<Record<string, number>>;
  /** Those that the core has now, and bytes of their states and masks and of the answers that follow them. */
  readonly resident: number;
  readonly residentBytes: number;
  /** Masks over the whole vocabulary. */
  readonly masks: number;
  /** Seconds that steps spent with masks and with following the answers. */
  readonly matchSeconds: number;
}

/** The engine at one moment, and counts since it started. */
export interface EngineStats {
  readonly waiting: number;
  readonly running: number;
  /** Waiting and running requests by adapter name. */
  readonly waitingAdapters: Readonly<Record<string, number>>;
  readonly runningAdapters: Readonly<Record<string, number>>;
  /** Waiting requests by tenant. */
  readonly waitingTenants: Readonly<Record<string, number>>;
  /** Running requests whose prompt is being computed. */
  readonly prefilling: number;
  readonly maxBatch: number;
  readonly steps: number;
  /** Tokens of all decode steps: over `steps`, the mean batch. */
  readonly decodedTokens: number;
  /** Prompt tokens that were computed, and those whose keys and values another request had computed. */
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
  /** Tokens that were drafted and verified, those of them that became part of an answer, and those whose steps were near (`Drafts`). */
  readonly draftTokens: number;
  readonly acceptedTokens: number;
  readonly nearDraftTokens: number;
  /** Process in which the model runs, and its memory. */
  readonly process: { readonly pid: number; readonly bytes: number };
  /** Keys and values: what is allocated, and what tokens take of it, those that are kept for later prompts included. */
  readonly cache: { readonly bytes: number; readonly usedBytes: number; readonly limitBytes: number };
  readonly grammars: GrammarStats;
  readonly adapters: {
    readonly registered: number;
    readonly resident: number;
    /** With tensors that several adapters share, each counted once, and with what is being loaded. */
    readonly residentBytes: number;
    readonly residentLimit: number;
    /** Digests of those that are in memory. */
    readonly residentDigests: readonly string[];
    readonly active: number;
    readonly activeBytes: number;
    readonly activeLimit: number;
    /** Of them, the bytes of one slot: each running request has its adapter's factors in one. */
    readonly slotBytes: number;
    /** A request found its adapter resident, or not. */
    readonly hits: number;
    readonly misses: number;
    readonly evictions: number;
    readonly loads: number;
    readonly loadSeconds: number;
    /** Folders that were found broken, and loads that failed. */
    readonly failures: number;
  };
}

/** The drafts of an engine. */
export interface Drafts {
  /** Most tokens of one draft; 0 for none. */
  readonly tokens: number;
  /**
   * Tokens of a sequence up to which its steps with drafts give bit for bit the logits of those without. Behind them drafts are
   * near: they round otherwise, which changes an answer where two tokens are about as likely.
   */
  readonly sameUpTo: number;
  /**
   * Whether kernels of several rows compute a lone token, too, where its last tokens recur, since those of one row round otherwise:
   * also without drafts, so that answers are the same.
   */
  readonly isPadded: boolean;
}

/** The model that an engine runs. */
export interface EngineModel {
  readonly vocabularySize: number;
  /** Numbers of an embedding. */
  readonly hiddenSize: number;
  /** The longest sequence, prompt and answer together. */
  readonly maxLength: number;
  readonly endTokens: readonly number[];
  /** Fingerprint of the weights, by which adapters name the base they were trained on. */
  readonly fingerprint: string;
  /** Equal in all quantisations of a model. */
  readonly identity?: string | undefined;
  /** A digest of how its tokenizer turns text into ids. */
  readonly tokens?: string | undefined;
  /** Format of the base, and type of its products. */
  readonly baseDtype: BaseDtype;
  readonly computeDtype: ComputeDtype;
  readonly drafts: Drafts;
  /** The memory that the engine was expected to take when it was opened; that of a loaded model is taken already. */
  readonly plan?: MemoryPlan | undefined;
}

/** A request in text: everything about it but the prompt's tokens. @inline */
export type TextRequest = Omit<EngineRequest, "prompt" | "pooling" | "calls">;

/** A request for an answer to a conversation. @inline */
export interface ChatRequest extends TextRequest {
  /** Tools that the model may call. A function's parameters may be a schema of zod or of another library with Standard JSON Schema. */
  readonly tools?: readonly Tool[] | undefined;
  /** Whether tools are called, and which ("auto": as the model likes). */
  readonly toolChoice?: ToolChoice | ToolChoice["mode"] | undefined;
  /** An answer may have several calls (true). */
  readonly parallelToolCalls?: boolean | undefined;
  /**
   * Form of the answer's text where it calls no tool: any, a JSON object, or JSON of a schema. A schema may be JSON Schema, or one of
   * zod or of another library with Standard JSON Schema, which may also stand here by itself. The model is shown it.
   */
  readonly responseFormat?: ResponseFormat | StandardJsonSchema | undefined;
}

/** A schema of zod, or of another library with Standard JSON Schema. @inline */
export interface StandardJsonSchema {
  readonly "~standard": {
    readonly vendor: string;
    readonly jsonSchema?: { input(options: { readonly target: "draft-2020-12" }): Record<string, unknown> };
  };
}

/** A message of the assistant, as a conversation goes on with it, and how it ended. @inline */
export interface AssistantMessage extends ChatMessage {
  readonly role: "assistant";
  /** Calls of tools; the last is incomplete where the answer was cut. */
  readonly toolCalls: readonly ToolCall[];
  readonly finishReason: FinishReason;
  readonly usage: EngineUsage;
}

/** The events of an answer to a conversation. Either they are read, or its parts, or its message. */
export interface ChatAnswer extends AsyncIterable<EngineEvent> {
  /** Text, reasoning and calls as they come. Throws as the events, and `cancelled` where the request's signal ended the answer. */
  parts(): AsyncIterable<AnswerDelta>;
  /** The whole answer. Throws as `parts`. */
  message(): Promise<AssistantMessage>;
}

/** Defaults of requests. */
export interface AnswerDefaults {
  /** Only what an option or the model sets: the rest changes nothing, and without a temperature decoding is greedy. */
  readonly sampling: Omit<SamplingOptions, "logitBias">;
  /** Most tokens of an answer, where an option or the model sets it. */
  readonly maxTokens?: number;
  /** Source of each default: "option", or the model's file. */
  readonly sources: Readonly<Record<string, string>>;
}

/** Runs requests side by side on one base. Holds native memory: dispose it, which cancels what runs. */
export interface Engine extends AsyncDisposable {
  readonly model: EngineModel;
  /** The model's tokenizer and chat template. */
  readonly text: LoadedText;
  readonly defaults: AnswerDefaults;
  /**
   * Resolves when the engine has stopped: to the error that broke it, or undefined where it was disposed and ended by
   * itself. Never rejects.
   */
  readonly closed: Promise<MosError | undefined>;
  /** True while the engine's process answers. A stopped or hanging process does not, and may resume. */
  readonly isResponding: boolean;
  /**
   * Queues a request. Breaking out of the loop, or its signal, cancels it. One loop reads the events.
   *
   * @throws MosError at once where the request is not accepted: `busy` for a full queue or an engine that is shutting
   * down, `bad_option` for settings or lengths out of range, `bad_data` for tokens the model does not have, `device`.
   * The iteration throws what only loading the adapter can tell, before its first event: `not_found`, `bad_adapter`,
   * `busy` where the adapters' memory is taken, `bad_option` where its slot can never fit; `bad_option` for a grammar that cannot be
   * compiled, with a `GrammarError` as its cause, or that outgrows its limits later, `busy` where too many wait; `unsupported` where the grammar allows none of
   * the model's tokens; and `device` at any time.
   */
  submit(request: EngineRequest): AsyncIterable<EngineEvent>;
  /**
   * Checks that this many requests of a tenant would be accepted now, as far as others decide it: several that belong together
   * are refused by this before the first of them is queued.
   *
   * @throws MosError `busy` and `device` as `submit`.
   */
  assertCapacity(tenant: string, count: number): void;
  /**
   * Answers a conversation, or one message of a user, laid out by the model's chat template. `maxTokens` is cut to what the
   * model's length leaves.
   *
   * @throws MosError as `submit`; `bad_option` where the prompt leaves no room for an answer, and for tools and schemas that cannot be
   * read.
   * @example
   * for await (const event of engine.chat("When can I come in?"))
   *   if (event.type === "token" || event.type === "finish") process.stdout.write(event.text);
   * const person = z.object({ name: z.string(), born: z.int() });
   * const { content } = await engine.chat("Ada Lovelace, born in 1815", { responseFormat: person }).message();
   * const { toolCalls } = await engine.chat("Is it raining in Oslo?", { tools: [weather], toolChoice: "required" }).message();
   */
  chat(messages: string | readonly ChatMessage[], options?: ChatRequest): ChatAnswer;
  /**
   * Continues a text as it stands, without the chat template. Throws as `chat`.
   *
   * @example
   * const events = engine.complete("Once upon a time", { maxTokens: 40, sampling: { temperature: 0.8 } });
   */
  complete(text: string, options?: TextRequest): AsyncIterable<EngineEvent>;
  /**
   * Embeds texts, in their order: vectors of length 1 of the model's hidden width, or of its first `dimensions`, which only
   * models that were trained for it (Matryoshka) endure. The model's files choose the pooling; without them it is the last
   * token's.
   *
   * @throws MosError as `submit` and its events; `unsupported` for a pooling other than of the last token or the mean,
   * `bad_option` for more dimensions than there are and for a text that is empty or too long, by its index, `cancelled`.
   * @example
   * const [a, b] = await engine.embed(["When can I come in?", "What are your opening hours?"]);
   */
  embed(
    texts: readonly string[],
    options?: Pick<EngineRequest, "adapter" | "tenant" | "signal"> & {
      readonly dimensions?: number | undefined;
    },
  ): Promise<readonly Float32Array[]>;
  /** Adapters as last seen on disk, by name. */
  adapters(): readonly AdapterInfo[];
  /** Folders beside them that cannot be used, as last seen, by name. */
  refusedAdapters(): readonly RefusedAdapter[];
  /** Calls the listener whenever the adapters or the refused ones have changed. */
  onAdapters(listener: () => void): void;
  /** Rescans the folder now instead of waiting for the next scan. */
  refreshAdapters(): Promise<readonly AdapterInfo[]>;
  /**
   * Compiles a grammar as a request with it would have it compiled, without a request.
   *
   * @throws MosError `bad_option` for one that cannot be enforced, with the reason, a `GrammarError`, as its cause; `busy` where too many
   *   of the tenant's grammars wait; `device`.
   */
  checkGrammar(source: GrammarSource, options?: Pick<EngineRequest, "tenant" | "signal">): Promise<void>;
  /** Counts of requests, tokens and adapters, and bytes of memory. */
  stats(): Promise<EngineStats>;
  /** Accepts no more requests (`busy`), and resolves when all accepted ones have finished. */
  drain(): Promise<void>;
}
