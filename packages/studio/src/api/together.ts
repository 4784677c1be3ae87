// Requests that are made together go over one connection: without HTTP/2 a browser opens six to a server, and seven answers
// would not be made in one batch.
import { chunksOf, readEvents } from "./stream.ts";

interface Waiting {
  readonly url: string;
  readonly init: RequestInit;
  readonly resolve: (answer: Response) => void;
  readonly reject: (error: unknown) => void;
}

/** A part of one of the answers, as the server sends them. */
interface Part {
  readonly index: number;
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly text?: string;
  readonly end?: "whole" | "cut";
}

let waiting: Waiting[] = [];

/** Fetches the answer to a request with a body of JSON, together with the others of this moment. */
export function fetchTogether(url: string, init: RequestInit): Promise<Response> {
  return new Promise((resolve, reject) => {
    waiting.push({ url, init, resolve, reject });
    if (waiting.length === 1) setTimeout(sendWaiting);
  });
}

function sendWaiting(): void {
  const requests = waiting.filter(({ init }) => init.signal?.aborted !== true);
  for (const { init, reject } of waiting) if (init.signal?.aborted === true) reject(init.signal.reason);
  waiting = [];
  const [only] = requests;
  if (only === undefined) return;
  if (requests.length === 1) void fetch(only.url, only.init).then(only.resolve, only.reject);
  else void sendTogether(requests);
}

async function sendTogether(requests: readonly Waiting[]): Promise<void> {
  const stop = new AbortController();
  const answers = requests.map(openAnswer);
  const leave = (): void => {
    if (answers.every(({ isOver }) => isOver())) stop.abort();
  };
  for (const { init } of requests) init.signal?.addEventListener("abort", leave, { once: true });
  try {
    const answer = await fetch("./together", {
      method: "POST",
      headers: requests[0]?.init.headers ?? {},
      body: JSON.stringify({ requests: requests.map(toBody) }),
      signal: stop.signal,
    });
    if (!answer.ok || answer.body === null) {
      const text = await answer.text();
      for (const one of answers) one.add({ index: 0, status: answer.status, text, end: "whole" });
      return;
    }
    for await (const data of readEvents(chunksOf(answer.body))) {
      if (data === "[DONE]") return;
      const part = JSON.parse(data) as Part;
      answers[part.index]?.add(part);
    }
    throw new TypeError("the connection was lost");
  } catch (error) {
    for (const one of answers) one.fail(error);
  }
}

const toBody = ({ url, init }: Waiting): object => ({
  path: url.slice(url.indexOf("/v1/")),
  body: JSON.parse(String(init.body)),
});

/** One of the answers, as `fetch` would give it. */
function openAnswer({ init: { signal }, resolve, reject }: Waiting) {
  const encoder = new TextEncoder();
  let stream: ReadableStreamDefaultController<Uint8Array> | undefined;
  let isOver = false;
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => {
      stream = controller;
    },
    cancel: () => {
      isOver = true;
    },
  });
  const fail = (error: unknown): void => {
    if (isOver) return;
    isOver = true;
    stream?.error(error);
    reject(error);
  };
  signal?.addEventListener("abort", () => fail(signal.reason), { once: true });
  return {
    isOver: () => isOver,
    fail,
    add({ status, headers, text, end }: Part): void {
      if (isOver) return;
      if (status !== undefined) resolve(new Response(body, { status, headers: headers ?? {} }));
      if (text !== undefined && text !== "") stream?.enqueue(encoder.encode(text));
      if (end === "cut") fail(new TypeError("the answer was cut off"));
      if (end !== "whole") return;
      isOver = true;
      stream?.close();
    },
  };
}
