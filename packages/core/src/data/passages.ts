// Passages of a text: cut at headings and paragraphs, and only where one of these is too long at lines, sentences or words.
// Of Markdown nothing but headings, code fences and front matter decides where, so that no parser is needed.

/** A part of a document. */
export interface Passage {
  /** The line of the document on which it begins, from 1. */
  readonly line: number;
  /** Titles of the sections that it is in, the outermost first. */
  readonly headings: readonly string[];
  /** Text as the document has it, headings included. */
  readonly text: string;
}

/** Options of cutting a text. */
export interface SplitPassagesOptions {
  readonly isMarkdown: boolean;
  /** Tests whether a text is short enough to be a passage. A single word always is one. */
  readonly fits: (text: string) => boolean;
}

/** Offsets in the text. */
interface Range {
  readonly begin: number;
  readonly end: number;
}

interface Block extends Range {
  readonly kind: "heading" | "paragraph" | "lines";
  /** Of a heading. */
  readonly level?: number;
  readonly title?: string;
}

/**
 * Cuts a text into passages, in their order. Together they are the whole text but front matter and space between them. A
 * passage never crosses a heading, and begins with the headings directly before it.
 */
export function splitPassages(text: string, { isMarkdown, fits }: SplitPassagesOptions): readonly Passage[] {
  const cutter = new Cutter(text, fits);
  for (const block of scanBlocks(text, isMarkdown)) {
    if (block.kind === "heading") cutter.addHeading(block);
    else cutter.add([block], block.kind === "lines" ? [lines, sentences, words] : [sentences, words]);
  }
  return cutter.finish();
}

/** Writing without spaces between words, in a class of characters. */
const UNSPACED = ["Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar"]
  .map((script) => `\\p{Script=${script}}`)
  .join("");
const WORD = new RegExp(`[${UNSPACED}]|[^\\s${UNSPACED}]+`, "gu");
/** A character of such writing. */
export const UNSPACED_CHARACTER = new RegExp(`[${UNSPACED}]`, "gu");

/** Words of a text; in scripts that put no spaces between words, its characters. */
export const countWords = (text: string): number => text.match(WORD)?.length ?? 0;

type Divide = (text: string, range: Range) => readonly Range[];

/** Collects ranges into passages, each as long as fits. */
class Cutter {
  readonly #text: string;
  readonly #fits: (text: string) => boolean;
  readonly #passages: Passage[] = [];
  #path: readonly Block[] = [];
  /** The passage so far; undefined where none has begun. */
  #begin: number | undefined;
  #end = 0;
  /** True if there is more in it than headings. */
  #hasBody = false;
  #line = 1;
  #lineOffset = 0;

  constructor(text: string, fits: (text: string) => boolean) {
    this.#text = text;
    this.#fits = fits;
  }

  addHeading(block: Block): void {
    if (this.#hasBody) this.#flush();
    this.#path = [...this.#path.filter(({ level = 0 }) => level < (block.level ?? 0)), block];
    if (this.#fitsUpTo(block.begin, block.end)) {
      this.#begin ??= block.begin;
      this.#end = block.end;
    } else this.add([block], [words]);
  }

  /** Adds ranges; those that are too long alone are divided, by the first way that can. */
  add(ranges: readonly Range[], ways: readonly Divide[]): void {
    for (let i = 0; i < ranges.length; ) {
      const next = ranges[i] as Range;
      const count = this.#longestRun(ranges, i);
      if (count > 0) {
        this.#begin ??= next.begin;
        this.#end = ranges[i + count - 1]?.end ?? next.end;
        this.#hasBody = true;
        i += count;
        if (i < ranges.length) this.#flush();
      } else if (this.#hasBody) this.#flush();
      else {
        this.#addLong(next, ways);
        i++;
      }
    }
  }

  finish(): readonly Passage[] {
    this.#flush();
    return this.#passages;
  }

  #addLong(range: Range, [divide, ...others]: readonly Divide[]): void {
    if (divide !== undefined) {
      this.add(divide(this.#text, range), others);
      return;
    }
    this.#flush(); // headings alone
    this.#begin = range.begin;
    this.#end = range.end;
    this.#flush();
  }

  /** How many ranges from the i-th on fit into the passage; found with few tests of texts of about that length. */
  #longestRun(ranges: readonly Range[], i: number): number {
    const begin = this.#begin ?? ranges[i]?.begin ?? 0;
    const fits = (count: number): boolean => this.#fitsUpTo(begin, ranges[i + count - 1]?.end ?? 0);
    let [sound, tooMany] = [0, 1];
    while (tooMany <= ranges.length - i && fits(tooMany)) [sound, tooMany] = [tooMany, 2 * tooMany];
    tooMany = Math.min(tooMany, ranges.length - i + 1);
    while (tooMany - sound > 1) {
      const middle = (sound + tooMany) >> 1;
      if (fits(middle)) sound = middle;
      else tooMany = middle;
    }
    return sound;
  }

  #fitsUpTo(begin: number, end: number): boolean {
    return this.#fits(trimmed(this.#text.slice(this.#begin ?? begin, end)));
  }

  #flush(): void {
    if (this.#begin === undefined) return;
    const whole = this.#text.slice(this.#begin, this.#end);
    const text = trimmed(whole);
    if (text !== "") {
      const offset = this.#begin + whole.indexOf(text);
      for (; this.#lineOffset < offset; this.#lineOffset++)
        if (this.#text[this.#lineOffset] === "\n") this.#line++;
      const headings = this.#path.map(({ title = "" }) => title);
      this.#passages.push({ line: this.#line, headings, text });
    }
    this.#begin = undefined;
    this.#hasBody = false;
  }
}

/** Without blank lines before and space after; the first line keeps its indent. */
const trimmed = (text: string): string => text.replace(/^\s*\n/, "").trimEnd();

/** The matches of a pattern in a range. */
const matches =
  (pattern: RegExp): Divide =>
  (text, { begin, end }) =>
    [...text.slice(begin, end).matchAll(pattern)].map(({ 0: part, index }) => ({
      begin: begin + index,
      end: begin + index + part.length,
    }));

const lines = matches(/[^\n]+\n?|\n/g);
const words = matches(WORD);

const sentenceBreaks = new Intl.Segmenter("en", { granularity: "sentence" });
/** Characters that are segmented at once: the segmenter's time grows with the square of the length. */
const WINDOW = 1 << 13;

/** Line ends inside of a paragraph end no sentence. */
const sentences: Divide = (text, { begin, end }) => {
  const found: Range[] = [];
  let from = begin;
  for (let length = WINDOW; from < end; length *= 2) {
    const part = text.slice(from, Math.min(end, from + length)).replaceAll("\n", " ");
    const lengths = Array.from(sentenceBreaks.segment(part), ({ segment }) => segment.length);
    if (from + length < end) lengths.pop(); // which may go on
    if (lengths.length > 0) length = WINDOW / 2;
    for (const sentence of lengths) {
      found.push({ begin: from, end: from + sentence });
      from += sentence;
    }
  }
  return found;
};

/** Before a blank line, --- is a rule. */
const FRONT_MATTER =
  /^(?:---[ \t]*\n(?![ \t]*\n)(?:[\s\S]*?\n)??(?:---|\.\.\.)|\+\+\+[ \t]*\n(?:[\s\S]*?\n)??\+\+\+)[ \t]*(?:\n|$)/;
const FENCE = /^\s*(`{3,}(?=[^`]*$)|~{3,})/;

/** A paragraph, or with a mark code behind a fence, that has not ended yet. */
interface OpenBlock {
  readonly begin: number;
  readonly mark: string | undefined;
}

/** The blocks of a text: between blank lines, and in Markdown also headings, and code between fences. */
function* scanBlocks(text: string, isMarkdown: boolean): Generator<Block, void> {
  const start = isMarkdown ? (FRONT_MATTER.exec(text)?.[0].length ?? 0) : 0;
  let open: OpenBlock | undefined;
  for (const range of lines(text, { begin: start, end: text.length })) {
    const step: ReturnType<typeof scanLine> = scanLine(text, { ...range, open, isMarkdown });
    yield* step.blocks;
    open = step.open;
  }
  if (open !== undefined) yield toBlock(text, open.begin, text.length);
}

/** The blocks that a line ends, and the one that it leaves open. */
function scanLine(
  text: string,
  { begin, end, open, isMarkdown }: Range & { open: OpenBlock | undefined; isMarkdown: boolean },
): { readonly blocks: readonly Block[]; readonly open: OpenBlock | undefined } {
  const line = text.slice(begin, end).trimEnd();
  if (open?.mark !== undefined)
    return isFenceEnd(line, open.mark)
      ? { blocks: [toBlock(text, open.begin, end)], open: undefined }
      : { blocks: [], open };
  const heading = isMarkdown ? readHeading(text, { line, begin, end, open }) : undefined;
  const mark = isMarkdown ? FENCE.exec(line)?.[1] : undefined;
  if (heading === undefined && mark === undefined && line !== "")
    return { blocks: [], open: open ?? { begin, mark } };
  const isUnderlined = heading !== undefined && heading.begin !== begin; // it is the block that was open
  const before = open === undefined || isUnderlined ? [] : [toBlock(text, open.begin, begin)];
  if (heading !== undefined) return { blocks: [...before, heading], open: undefined };
  return { blocks: before, open: mark === undefined ? undefined : { begin, mark } };
}

/** Items of lists, rows of tables, quotations and code are apart by lines. */
const BY_LINES = /^\s*(?:[-*+•]\s|\d+[.)]\s|\||>|```|~~~)/;

const toBlock = (text: string, begin: number, end: number): Block => ({
  kind: BY_LINES.test(text.slice(begin, begin + 200)) ? "lines" : "paragraph",
  begin,
  end,
});

function isFenceEnd(line: string, mark: string): boolean {
  const found = line.trim();
  return found.length >= mark.length && [...found].every((character) => character === mark[0]);
}

/** A heading: `## Title`, or a paragraph that a line of = or - underlines. */
function readHeading(
  text: string,
  { line, begin, end, open }: Range & { readonly line: string; readonly open: OpenBlock | undefined },
): Block | undefined {
  const marks = /^ {0,3}(#{1,6})(?=[ \t]|$)/.exec(line);
  if (marks !== null) {
    const title = line.slice(marks[0].length).replace(/[ \t]#+$/, "");
    return { kind: "heading", level: marks[1]?.length ?? 1, title: title.trim(), begin, end };
  }
  const underline = /^ {0,3}(?:=+|-+)$/.exec(line);
  if (underline === null || open === undefined) return undefined;
  const above = text.slice(open.begin, begin);
  if (BY_LINES.test(above)) return undefined;
  const title = above.trim().replace(/\s+/g, " ");
  return { kind: "heading", level: line.includes("=") ? 1 : 2, title, begin: open.begin, end };
}
