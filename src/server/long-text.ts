/** A text in a JSON document that is longer than this is taken out before the rest is parsed. */
const LONG = 1 << 16;
const QUOTE = 0x22;

/** Behind the quote that ends a text there is none of these, so that where one is, a text goes on. */
const isLetter = (byte = 0): boolean => /[A-Za-z0-9+/]/.test(String.fromCharCode(byte));

/** A JSON document in two. */
export interface LiftedText {
  /** The document with a placeholder where the text was. */
  readonly rest: Buffer;
  /** The first long text, as it stands in the document: whoever uses it checks it for escapes. */
  readonly text: Buffer | undefined;
}

/** Takes the first long text out of a JSON document without reading the document letter by letter. */
export function liftLongText(document: Buffer, placeholder: string): LiftedText {
  const kept: Buffer[] = [];
  let text: Buffer | undefined;
  let at = 0;
  while (at < document.length) {
    // `at` is the beginning, or right behind a quote
    const last = document.subarray(at, at + LONG).lastIndexOf(QUOTE);
    const quote = last < 0 ? document.indexOf(QUOTE, at) : at + last;
    const end = quote < 0 ? document.length : quote + 1;
    if (last < 0 && quote - at >= LONG && text === undefined && isLetter(document[at])) {
      text = document.subarray(at, quote);
      kept.push(Buffer.from(placeholder), document.subarray(quote, end));
    } else kept.push(document.subarray(at, end));
    at = end;
  }
  return { rest: Buffer.concat(kept), text };
}
