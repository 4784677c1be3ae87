// An endpoint of an OpenAI-compatible API: one request, tried again where that may help.
import { z } from "zod";
import { abortAfter, describeBytes, errorText, MosError, rootCause, tryJson } from "#common";
import { type Failure, readBounded, retryAdvice } from "#hub";
import { sleep as wait } from "#platform";
import type { ChatMessage } from "#text";

/** Options of an endpoint. */
export interface EndpointOptions {
  /** Base URL as OpenAI's clients have it, such as `http://127.0.0.1:8080/v1`. */
  readonly url: string;
  readonly key?: string | undefined;
  /** Name of its model in messages ("the teacher"). */
  readonly role?: string;
  /** Whether a server that nobody has met yet is waited for (false). */
  readonly isAwaited?: boolean;
  /** Seconds of a request with all its attempts (any number of them). */
  readonly seconds?: number;
  /** Told why a request is made again, and after how many seconds. */
  readonly onRetry?: ((reason: string, seconds: number) => void) | undefined;
  readonly fetch?: typeof fetch;
  /** Waits for seconds. */
  readonly sleep?: (seconds: number, signal: AbortSignal | undefined) => Promise<unknown>;
}

/** What an endpoint is for. */
interface EndpointKind<T> {
  /** Its path below the base URL. */
  readonly path: "chat/completions" | "completions";
  /** What of its answer is read. */
  readonly answer: z.ZodType<T>;
  /** Name of that in messages. */
  readonly answerName: string;
}

/** The body of a request. */
type Body = object & { readonly model: string };

const MAX_ATTEMPTS = 8;
/** Seconds of pauses that a server asks for, which count as no attempts: it is there, and busy. */
const PATIENCE = 600;
const [FIRST_WAIT, MAX_WAIT] = [1, 60];
/** The longest wait that a server may ask for, in seconds. */
const MAX_ASKED_WAIT = 600;
/** Milliseconds for one answer. */
const TIMEOUT = 600_000;
/** An answer with the log-probabilities of 100,000 tokens has about so many. */
const MAX_ANSWER_BYTES = 16e6;

/** The address of an endpoint below a base URL. Throws `bad_option` for what is no http URL. */
export function endpointUrl(base: string, endpoint: EndpointKind<unknown>["path"]): URL {
  const url = URL.canParse(base) ? new URL(base) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== "" || url.password !== "")
    throw new MosError(
      "bad_option",
      "teacher: this is no address of a teacher; give the base URL of an OpenAI-compatible API without a key in it, such as http://127.0.0.1:8080/v1",
    );
  const path = url.pathname.replace(/(?<!\/)\/+$/, "").replace(/(\/chat)?\/completions$/, "");
  url.pathname = `${path === "" ? "/v1" : path}/${endpoint}`;
  return url;
}

/**
 * Opens an endpoint. Its answers with status 408, 425, 429 and 5xx and broken connections are tried again, after the time
 * that the server asks for or with growing pauses.
 *
 * @throws MosError `bad_option` for an invalid URL; from requests `network`, `not_found` and `cancelled`.
 */
export function openEndpoint<T>(
  kind: EndpointKind<T>,
  options: EndpointOptions,
): (body: Body, signal?: AbortSignal) => Promise<T> {
  const { sleep = (seconds, signal) => wait(seconds * 1000, { signal }), onRetry } = options;
  const { seconds: most = Number.POSITIVE_INFINITY } = options;
  const endpoint = new Endpoint(kind, options);
  return async (body, signal) => {
    let [attempts, waited] = [0, 0];
    const until = performance.now() + most * 1000;
    for (;;) {
      const result = await endpoint.ask(body, {
        signal,
        timeout: Math.min(TIMEOUT, until - performance.now()),
      });
      if ("answer" in result) return result.answer;
      const { transient, error, waitSeconds } = result;
      const asked = waitSeconds ?? 0;
      waited += asked;
      // "Retry-After: 0" would never run out of patience
      if (asked < FIRST_WAIT || waited > PATIENCE) attempts++;
      const seconds = waitSeconds ?? Math.min(FIRST_WAIT * 2 ** (attempts - 1), MAX_WAIT);
      const isLate = performance.now() + seconds * 1000 >= until;
      if (!transient || attempts === MAX_ATTEMPTS || isLate) throw error;
      onRetry?.(error.message, seconds);
      await sleep(seconds, signal).catch(() => undefined);
      assertNotStopped(signal);
    }
  };
}

/** The error of requests that a signal ends. */
export const stoppedAsking = (): MosError =>
  new MosError("cancelled", "stopped asking the teacher; the same command goes on from here");

function assertNotStopped(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw stoppedAsking();
}

interface Answered<T> {
  readonly answer: T;
}

class Endpoint<T> {
  readonly #kind: EndpointKind<T>;
  readonly #options: EndpointOptions;
  readonly #url: URL;
  /** A server that is restarted comes back; where none was ever met, waiting only hides the reason. */
  #isThere: boolean;

  constructor(kind: EndpointKind<T>, options: EndpointOptions) {
    this.#kind = kind;
    this.#options = options;
    this.#url = endpointUrl(options.url, kind.path);
    this.#isThere = options.isAwaited ?? false;
  }

  async ask(
    body: Body,
    { signal, timeout }: { readonly signal: AbortSignal | undefined; readonly timeout: number },
  ): Promise<Answered<T> | Failure> {
    assertNotStopped(signal);
    using limit = abortAfter(timeout, signal);
    try {
      const response = await this.#send(body, limit.signal);
      this.#isThere = true;
      const bytes = await readBounded(response, MAX_ANSWER_BYTES);
      if (bytes === undefined) return this.#tooLong(body.model);
      const answer = new TextDecoder().decode(bytes);
      return response.ok
        ? this.#readAnswer(answer)
        : this.#refused(response, { body: answer, model: body.model });
    } catch (error) {
      assertNotStopped(signal);
      const reason = limit.isLate ? `no answer in ${Math.round(timeout / 1000)} s` : rootCause(error);
      const isAbsent = !this.#isThere && /ECONNREFUSED|ENOTFOUND|bad port/.test(reason);
      const advice = isAbsent ? "; start it, or check the URL" : "";
      return { error: this.#failed(`does not answer (${reason})${advice}`, error), transient: !isAbsent };
    }
  }

  #send(body: Body, signal: AbortSignal): Promise<Response> {
    const { key, fetch: send = fetch } = this.#options;
    return send(this.#url, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      },
      body: JSON.stringify(body),
      redirect: "error", // the key is for this server
      signal,
    });
  }

  #readAnswer(body: string): Answered<T> | Failure {
    const { data, success } = this.#kind.answer.safeParse(tryJson(body));
    if (success) return { answer: data };
    const found = described(body) || ` ${JSON.stringify(body.slice(0, 60))}`;
    const what = `answered 200 without ${this.#kind.answerName}:${found}; check that the URL is that of an OpenAI-compatible API`;
    return { error: this.#failed(what), transient: false };
  }

  #refused(response: Response, { body, model }: { readonly body: string; readonly model: string }): Failure {
    const { status } = response;
    const advice =
      status === 401 || status === 403
        ? "; name the environment variable of the key with --key-variable"
        : status === 404
          ? `; check the URL, and that it serves ${model}`
          : "";
    const error = this.#failed(`answered ${status}${described(body)}${advice}`);
    return { error, ...retryAdvice(response, MAX_ASKED_WAIT) };
  }

  #tooLong(model: string): Failure {
    const what = `answered more than ${describeBytes(MAX_ANSWER_BYTES)}; check the URL, and that it serves ${model}`;
    return { error: this.#failed(what), transient: false };
  }

  #failed(what: string, cause?: unknown): MosError {
    const { role = "the teacher" } = this.#options;
    return new MosError("network", `${this.#url.origin}: ${role} ${what}`, { cause });
  }
}

const errorSchema = z.object({ error: z.object({ message: z.string() }) });

/** The message of an error as OpenAI words it. */
function described(body: string): string {
  const { data } = errorSchema.safeParse(tryJson(body));
  return data === undefined ? "" : ` "${data.error.message}"`;
}

// Chat completions

/** A request, of which any fields of OpenAI's may be set. */
export interface ChatCompletionRequest {
  readonly model: string;
  readonly messages: readonly Pick<ChatMessage, "role" | "content">[];
  readonly max_tokens?: number;
  readonly [field: string]: unknown;
}

/** What is read of an answer. */
const chatCompletionSchema = z.object({
  model: z.string().optional(),
  choices: z
    .array(z.object({ message: z.object({ content: z.string().nullish(), refusal: z.string().nullish() }) }))
    .min(1),
  usage: z.object({ prompt_tokens: z.int(), completion_tokens: z.int() }).nullish(),
});

export type ChatCompletion = z.output<typeof chatCompletionSchema>;

/** Asks a model. */
export type ChatClient = (
  request: ChatCompletionRequest,
  signal?: AbortSignal | undefined,
) => Promise<ChatCompletion>;

/** The newer name of `max_tokens`. */
const NEWER_LIMIT = "max_completion_tokens";

/** Asks the models of an endpoint. Throws what `openEndpoint` throws. */
export function openChatClient(options: EndpointOptions): ChatClient {
  const ask = openEndpoint(
    { path: "chat/completions", answer: chatCompletionSchema, answerName: "a chat completion" },
    options,
  );
  // some models of OpenAI refuse the older name, and some other servers do not know the newer one
  let limitField = "max_tokens";
  return async ({ max_tokens, ...request }, signal) => {
    if (max_tokens === undefined) return await ask(request as ChatCompletionRequest, signal);
    const send = (field: string) => ask({ ...request, [field]: max_tokens } as ChatCompletionRequest, signal);
    const tried = limitField;
    try {
      return await send(tried);
    } catch (error) {
      if (tried === NEWER_LIMIT || !errorText(error).includes(NEWER_LIMIT)) throw error;
      limitField = NEWER_LIMIT;
      return await send(NEWER_LIMIT);
    }
  };
}
