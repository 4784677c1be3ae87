// A teacher behind an OpenAI-compatible endpoint: one request, tried again where that may help.

import { z } from "zod";
import { errorText, MosError } from "#core";
import { type Failure, retryAdvice } from "#hub";
import { sleep as wait } from "#platform";
import type { ChatMessage } from "#text";

/** A request to a teacher. */
export interface TeacherRequest {
  readonly messages: readonly ChatMessage[];
  /** Tokens of the answer at most. */
  readonly maxTokens: number;
  readonly signal?: AbortSignal | undefined;
}

/** Answer of a teacher. */
export interface TeacherAnswer {
  readonly text: string;
  readonly promptTokens: number;
  readonly completionTokens: number;
}

/** A model that writes questions and answers. */
export type Teacher = (request: TeacherRequest) => Promise<TeacherAnswer>;

/** Options of a teacher behind an endpoint. */
export interface RemoteTeacherOptions {
  /** Base URL as OpenAI's clients have it, such as `http://127.0.0.1:8080/v1`. */
  readonly url: string;
  readonly model: string;
  readonly key?: string | undefined;
  /** Told why a request is made again, and after how many seconds. */
  readonly onRetry?: (reason: string, seconds: number) => void;
  readonly fetch?: typeof fetch;
  /** Waits for seconds. */
  readonly sleep?: (seconds: number, signal: AbortSignal | undefined) => Promise<unknown>;
}

const MAX_ATTEMPTS = 8;
const [FIRST_WAIT, MAX_WAIT] = [1, 60];
/** The longest wait that a server may ask for, in seconds. */
const MAX_ASKED_WAIT = 600;
/** Milliseconds for one answer. */
const TIMEOUT = 600_000;

const completionSchema = z.object({
  choices: z.array(z.object({ message: z.object({ content: z.string().nullish() }) })).min(1),
  usage: z.object({ prompt_tokens: z.number(), completion_tokens: z.number() }).nullish(),
});

/** The address of chat completions below a base URL. Throws `bad_option` for what is no http URL. */
export function completionsUrl(base: string): URL {
  const url = URL.canParse(base) ? new URL(base) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== "" || url.password !== "")
    throw new MosError(
      "bad_option",
      "teacher: this is no address of a teacher; give the base URL of an OpenAI-compatible API without a key in it, such as http://127.0.0.1:8080/v1",
    );
  const path = url.pathname.replace(/(\/chat\/completions)?\/*$/, "");
  url.pathname = `${path === "" ? "/v1" : path}/chat/completions`;
  return url;
}

/**
 * A teacher behind an endpoint. Its answers with status 408, 425, 429 and 5xx and broken connections are tried again, after
 * the time that the server asks for or with growing pauses.
 *
 * @throws MosError `bad_option` for an invalid URL; from requests `network`, `not_found` and `cancelled`.
 */
export function remoteTeacher(options: RemoteTeacherOptions): Teacher {
  const { sleep = (seconds, signal) => wait(seconds * 1000, { signal }), onRetry } = options;
  const endpoint = new Endpoint(options);
  return async (request) => {
    for (let attempt = 1; ; attempt++) {
      const result = await endpoint.ask(request);
      if ("text" in result) return result;
      if (!result.transient || attempt === MAX_ATTEMPTS) throw result.error;
      const seconds = result.waitSeconds ?? Math.min(FIRST_WAIT * 2 ** (attempt - 1), MAX_WAIT);
      onRetry?.(result.error.message, seconds);
      await sleep(seconds, request.signal).catch(() => undefined);
      assertNotStopped(request.signal);
    }
  };
}

/** The error of requests that a signal ends. */
export const stoppedAsking = (): MosError =>
  new MosError("cancelled", "stopped asking the teacher; the same command goes on from here");

function assertNotStopped(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw stoppedAsking();
}

class Endpoint {
  readonly #options: RemoteTeacherOptions;
  readonly #url: URL;
  /** Some models of OpenAI refuse the older name, and some other servers do not know the newer one. */
  #limitField = "max_tokens";
  #hasAnswered = false;

  constructor(options: RemoteTeacherOptions) {
    this.#options = options;
    this.#url = completionsUrl(options.url);
  }

  async ask({ messages, maxTokens, signal }: TeacherRequest): Promise<TeacherAnswer | Failure> {
    assertNotStopped(signal);
    const limitField = this.#limitField;
    // AbortSignal.any of Node 20 loses signals of AbortSignal.timeout
    const stop = new AbortController();
    const follow = (): void => stop.abort();
    const timer = setTimeout(follow, TIMEOUT);
    signal?.addEventListener("abort", follow, { once: true });
    try {
      const response = await this.#send({ messages, [limitField]: maxTokens }, stop.signal);
      this.#hasAnswered = true;
      const body = await response.text();
      if (response.ok) return this.#readAnswer(body);
      if (response.status === 400 && limitField === "max_tokens" && body.includes("max_completion_tokens")) {
        this.#limitField = "max_completion_tokens";
        return await this.ask({ messages, maxTokens, signal });
      }
      return this.#refused(response, body);
    } catch (error) {
      assertNotStopped(signal);
      const reason = stop.signal.aborted ? `no answer in ${TIMEOUT / 1000} s` : rootCause(error);
      // a server that is restarted comes back; where none was ever met, waiting only hides the reason
      const isAbsent = !this.#hasAnswered && /ECONNREFUSED|ENOTFOUND/.test(reason);
      const advice = isAbsent ? "; start it, or check the URL" : "";
      return { error: this.#failed(`does not answer (${reason})${advice}`, error), transient: !isAbsent };
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", follow);
    }
  }

  #send(fields: object, signal: AbortSignal): Promise<Response> {
    const { model, key, fetch: send = fetch } = this.#options;
    return send(this.#url, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      },
      body: JSON.stringify({ model, ...fields }),
      redirect: "error", // the key is for this server
      signal,
    });
  }

  #readAnswer(body: string): TeacherAnswer | Failure {
    const { data } = completionSchema.safeParse(parseOrNothing(body));
    if (data === undefined) {
      const found = described(body) || ` ${JSON.stringify(body.slice(0, 60))}`;
      const what = `answered 200 without a chat completion:${found}; check that the URL is that of an OpenAI-compatible API`;
      return { error: this.#failed(what), transient: false };
    }
    const { prompt_tokens: promptTokens = 0, completion_tokens: completionTokens = 0 } = data.usage ?? {};
    return { text: data.choices[0]?.message.content ?? "", promptTokens, completionTokens };
  }

  #refused(response: Response, body: string): Failure {
    const { status } = response;
    const { model } = this.#options;
    const advice =
      status === 401 || status === 403
        ? "; name the environment variable of the key with --key-variable"
        : status === 404
          ? `; check the URL, and that it serves ${model}`
          : "";
    const error = this.#failed(`answered ${status}${described(body)}${advice}`);
    return { error, ...retryAdvice(response, MAX_ASKED_WAIT) };
  }

  #failed(what: string, cause?: unknown): MosError {
    return new MosError("network", `${this.#url.origin}: the teacher ${what}`, { cause });
  }
}

function parseOrNothing(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const errorSchema = z.object({ error: z.object({ message: z.string() }) });

/** The message of an error as OpenAI words it. */
function described(body: string): string {
  const { data } = errorSchema.safeParse(parseOrNothing(body));
  return data === undefined ? "" : ` "${data.error.message}"`;
}

/** The reason behind fetch's own "fetch failed". */
function rootCause(error: unknown): string {
  if (error instanceof Error && error.cause instanceof Error) return rootCause(error.cause);
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return errorText(error) || code;
}
