// Server-sent events, by the rules of HTML's standard as far as the API uses them: data, comments, and the end by [DONE].
import { lost } from "./connection.ts";
import { ApiProblem, isAbort, toProblem, UNREACHABLE } from "./problem.ts";

/** Whole lines, from bytes that are cut anywhere: within a letter, or between the two parts of a line's end. */
async function* readLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of chunks) {
    rest += decoder.decode(chunk, { stream: true });
    // a \r at the end may be half of a line's end
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? "";
    yield* lines;
  }
}

/** The data of each event. One that its stream does not finish is dropped. */
export async function* readEvents(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  let data: string[] = [];
  for await (const line of readLines(chunks)) {
    if (line.startsWith("data:")) data.push(line.slice(line[5] === " " ? 6 : 5));
    if (line !== "" || data.length === 0) continue;
    yield data.join("\n");
    data = [];
  }
}

/** The chunks of a body. Browsers do not agree on iterating one, and a reader that leaves early must cancel it. */
export async function* chunksOf(body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** The chunks of an answer, or a problem where the server is lost. */
async function* readChunks(body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* chunksOf(body);
  } catch (error) {
    if (isAbort(error)) throw error;
    lost();
    throw new ApiProblem("the server was lost in the middle of its answer", { status: UNREACHABLE });
  }
}

/** The events of an answer, each parsed. Throws an ApiProblem for one that is an error. */
export async function* eventsOf(answer: Response): AsyncGenerator<unknown> {
  if (answer.body === null) return;
  const requestId = answer.headers.get("x-request-id") ?? undefined;
  for await (const data of readEvents(readChunks(answer.body))) {
    if (data === "[DONE]") return;
    const event: unknown = JSON.parse(data);
    if (typeof event === "object" && event !== null && "error" in event && event.error)
      throw toProblem(event, { status: answer.status, requestId });
    yield event;
  }
}
