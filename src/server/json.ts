// JSON that is made while it is sent: an answer may be larger than what the heap has room for.
import type { RequestContext } from "./context.ts";
import { streamBody } from "./sse.ts";

/** Makes the text of a value, piece by piece. */
export type JsonPieces = () => Iterable<string>;

/** Members and items are values, or the pieces of one. */
const serializePieces = (value: unknown): Iterable<string> =>
  typeof value === "function" ? (value as JsonPieces)() : [JSON.stringify(value)];

export const jsonObject = (members: Readonly<Record<string, unknown>>): JsonPieces =>
  function* () {
    let before = "{";
    for (const [name, value] of Object.entries(members)) {
      yield `${before}${JSON.stringify(name)}:`;
      yield* serializePieces(value);
      before = ",";
    }
    yield before === "{" ? "{}" : "}";
  };

/** @param items Gives them again at each call. */
export const jsonList = (items: () => Iterable<unknown>): JsonPieces =>
  function* () {
    let before = "[";
    for (const item of items()) {
      yield before;
      yield* serializePieces(item);
      before = ",";
    }
    yield before === "[" ? "[]" : "]";
  };

/** Characters that are sent at once. */
const PART = 65_536;

function* joinPieces(pieces: Iterable<string>): Generator<string, void> {
  let part = "";
  for (const piece of pieces) {
    part += piece;
    if (part.length < PART) continue;
    yield part;
    part = "";
  }
  if (part !== "") yield part;
}

/** Sends an answer with the status 200: a short one at once, a long one as fast as it is read. */
export function sendJson(context: RequestContext, answer: JsonPieces) {
  const headers = { "content-type": "application/json" };
  const parts = joinPieces(answer());
  const [first, second] = [parts.next(), parts.next()];
  if (first.done === true || second.done === true) return context.body(first.value ?? "", 200, headers);
  return streamBody(context, chain([first.value, second.value], parts), { headers });
}

async function* chain(made: readonly string[], parts: Iterable<string>): AsyncGenerator<string, void> {
  yield* made;
  yield* parts;
}
