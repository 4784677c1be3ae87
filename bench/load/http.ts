// Requests as a client's library sends them, on a connection of one's own.
import { type Agent, type IncomingHttpHeaders, type IncomingMessage, request } from "node:http";

/** Longer than any answer may take, in milliseconds. */
const PATIENCE = 300_000;

export interface Sent {
  readonly path: string;
  readonly key: string;
  /** As it goes out; left out, the request is a GET. */
  readonly body?: string;
}

/** An answer whose body has not been read. */
export interface Received {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: IncomingMessage;
  /** Ends the connection. */
  leave(): void;
}

/** Sends a request; `signal` ends it as a client that leaves. */
export function send(
  address: string,
  { path, key, body }: Sent,
  { agent, signal }: { readonly agent: Agent; readonly signal?: AbortSignal },
): Promise<Received> {
  return new Promise((resolve, reject) => {
    const headers = {
      authorization: `Bearer ${key}`,
      ...(body === undefined
        ? {}
        : { "content-type": "application/json", "content-length": Buffer.byteLength(body) }),
    };
    const method = body === undefined ? "GET" : "POST";
    const sent = request(new URL(path, address), {
      agent,
      method,
      headers,
      ...(signal === undefined ? {} : { signal }),
    });
    sent.setTimeout(PATIENCE, () => sent.destroy(new Error(`nothing came for ${PATIENCE / 1000} s`)));
    sent.on("error", reject);
    sent.on("response", (response) =>
      resolve({
        status: response.statusCode ?? 0,
        headers: response.headers,
        body: response,
        leave: () => sent.destroy(),
      }),
    );
    sent.end(body);
  });
}

/** The whole body as JSON. */
export async function readJson({ body }: Received): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString());
}

/** The data of server-sent events; `pause` holds up reading after each piece that came. */
export async function* readEvents(
  { body }: Received,
  pause: () => Promise<void> | undefined = () => undefined,
): AsyncGenerator<string, void> {
  body.setEncoding("utf8");
  let rest = "";
  for await (const piece of body) {
    rest += piece;
    const events = rest.split("\n\n");
    rest = events.pop() ?? "";
    for (const event of events) {
      if (!event.startsWith("data: ")) throw new Error(`an event begins with ${event.slice(0, 40)}`);
      yield event.slice("data: ".length);
    }
    await pause();
  }
  if (rest !== "") throw new Error(`the stream ends with ${rest.slice(0, 40)}`);
}
