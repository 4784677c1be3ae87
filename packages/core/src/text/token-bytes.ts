import { concatBytes, isRecord, MosError } from "#common";
import { broken, type Step, unsupported } from "./pre-tokenizer.ts";

/** Rule of decoding tokens to bytes. */
export interface DecodeRule {
  /** byte-level: each character stands for a byte (GPT-2's alphabet); sentencepiece: ▁ is a blank, <0xNN> a byte */
  readonly kind: "byte-level" | "sentencepiece";
  readonly byteFallback: boolean;
  readonly strippedBlanks: number;
}

/**
 * The rule of tokenizer.json's `decoder`.
 *
 * Byte fallback differs from Hugging Face in one point: where a run of byte tokens is not valid UTF-8, they decode every
 * byte of the run to U+FFFD, valid characters included; here only the invalid part is replaced, so that a stream holds
 * back at most three bytes.
 *
 * @throws MosError `unsupported` for decoders of other kinds.
 */
export function parseDecodeRule(decoder: unknown): DecodeRule {
  const steps = parseSteps(decoder);
  const types = steps.map((step) => step["type"]);
  if (types.length === 1 && types[0] === "ByteLevel")
    return { kind: "byte-level", byteFallback: false, strippedBlanks: 0 };
  const known = ["Replace", "ByteFallback", "Fuse", "Strip"];
  const foreign = types.find((type) => typeof type !== "string" || !known.includes(type));
  if (foreign !== undefined || types.length === 0) throw unsupported(`decoder "${String(foreign)}"`);
  for (const step of steps) checkStep(step);
  const strip = steps.find((step) => step["type"] === "Strip");
  const start = strip?.["start"];
  return {
    kind: "sentencepiece",
    byteFallback: types.includes("ByteFallback"),
    strippedBlanks: typeof start === "number" ? start : 0,
  };
}

function parseSteps(decoder: unknown): readonly Step[] {
  if (!isRecord(decoder))
    throw new MosError("unsupported", "tokenizer.json has no decoder; that is not supported");
  const inner = decoder["type"] === "Sequence" ? decoder["decoders"] : [decoder];
  if (!Array.isArray(inner) || !inner.every(isRecord))
    throw broken("decoder.decoders must be a list of objects");
  return inner;
}

/** Only the Replace and the Strip of converted SentencePiece models are supported. */
function checkStep(step: Step): void {
  const pattern = step["pattern"];
  const blank =
    step["type"] !== "Replace" || (isRecord(pattern) && pattern["String"] === "▁" && step["content"] === " ");
  const strip = step["type"] !== "Strip" || (step["content"] === " " && (step["stop"] ?? 0) === 0);
  if (!blank || !strip) throw unsupported(`decoder step ${JSON.stringify(step)}`);
}

/** GPT-2's alphabet: printable Latin-1 stands for itself, the other 68 bytes for U+0100 and on. */
const BYTE_OF: ReadonlyMap<string, number> = (() => {
  const printable = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
  let next = 0x100;
  return new Map(
    Array.from({ length: 256 }, (_, byte) => [String.fromCharCode(printable(byte) ? byte : next++), byte]),
  );
})();

const encoder = new TextEncoder();
const NO_BYTES = new Uint8Array(0);

/** Token id → bytes, cached by id. Added tokens of a byte-level tokenizer are plain text, not written in the byte alphabet. */
export function byteTable(
  tokens: readonly (string | undefined)[],
  added: ReadonlySet<number>,
  rule: DecodeRule,
): (id: number) => Uint8Array {
  const known = new Map<number, Uint8Array>();
  return (id) => {
    const found = known.get(id);
    if (found !== undefined) return found;
    const token = tokens[id];
    if (token === undefined) return NO_BYTES;
    const isPlain = added.has(id) && rule.kind === "byte-level";
    const bytes = isPlain ? encoder.encode(token) : encodeToken(token, rule);
    known.set(id, bytes);
    return bytes;
  };
}

function encodeToken(token: string, rule: DecodeRule): Uint8Array {
  if (rule.kind === "byte-level") {
    const bytes = Array.from(token, (character) => BYTE_OF.get(character));
    return bytes.every((byte) => byte !== undefined) ? Uint8Array.from(bytes) : encoder.encode(token);
  }
  const fallback = rule.byteFallback ? /^<0x([0-9A-Fa-f]{2})>$/.exec(token) : null;
  if (fallback?.[1] !== undefined) return Uint8Array.of(Number.parseInt(fallback[1], 16));
  return encoder.encode(token.replaceAll("▁", " "));
}

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** UTF-8 to text; invalid bytes become U+FFFD, as with Python's errors="replace". */
export const decodeBytes = (chunks: readonly Uint8Array[]): string => utf8.decode(concatBytes(chunks));

/** Number of bytes at the end that may begin an incomplete character: 0 to 3. */
export function incompleteTail(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] ?? 0;
    if (byte < 0x80) return 0;
    if (byte >= 0xc0) return back < sequenceLength(byte) ? back : 0;
  }
  return 0;
}

function sequenceLength(lead: number): number {
  if (lead < 0xe0) return 2;
  if (lead < 0xf0) return 3;
  return lead < 0xf5 ? 4 : 1;
}
