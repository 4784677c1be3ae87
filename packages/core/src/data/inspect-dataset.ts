// Inspection of a data set before a run: everything that is wrong with it, and not just the first line.
import { MosError } from "#common";
import type { LoadedText } from "#text";
import { CallChecker, hasTools } from "./call-check.ts";
import { type ReadExamplesOptions, type Reading, readExamples } from "./dataset.ts";
import { type EncodedExample, encodeSequences } from "./encode.ts";
import {
  type AnsweredExample,
  checksum,
  conversationOf,
  type Example,
  type Message,
  normalise,
  type PairExample,
  placeText,
  textsOf,
} from "./example.ts";
import type { FormName } from "./forms.ts";

/** Options of an inspection. */
export interface InspectDatasetOptions extends ReadExamplesOptions {
  /** Tokenizer and chat template with which tokens are counted; none are without. */
  readonly text?: LoadedText | undefined;
  /** Length in tokens beyond which a run would truncate an example. */
  readonly maxLength: number;
  /** Problems and duplicates that are listed; all are counted. */
  readonly limit: number;
}

/** Two places of one example. */
export interface Duplicate {
  readonly place: string;
  readonly first: string;
  /** Differs in case, spaces or punctuation. */
  readonly isNear: boolean;
}

/** Lengths of encoded examples, in tokens. */
export interface TokenLengths extends Lengths {
  /** Examples longer than the maximum length. */
  readonly truncated: number;
}

interface InspectedFile {
  readonly path: string;
  /** Undefined where no record has the fields of a format. */
  readonly format: FormName | undefined;
  readonly examples: number;
}

/** Result of an inspection. */
export interface DatasetInspection {
  readonly files: readonly InspectedFile[];
  readonly examples: number;
  /** The first problems: the place, what was found there, and what would do. */
  readonly problems: readonly string[];
  readonly problemCount: number;
  /** Problems that are empty answers. */
  readonly emptyAnswers: number;
  /** The first duplicates. */
  readonly duplicates: readonly Duplicate[];
  readonly exactDuplicates: number;
  readonly nearDuplicates: number;
  readonly tokens: TokenLengths | undefined;
  /** Undefined where there are none. */
  readonly pairs: PairCounts | undefined;
  readonly rated: RatedCounts | undefined;
  /** Examples with tools. */
  readonly toolExamples: number;
  /** The first calls that the schemas of their tools do not allow. A run learns them nevertheless. */
  readonly callWarnings: readonly string[];
  readonly callWarningCount: number;
}

const PROGRESS_INTERVAL = 1000;
const EMPTY_ANSWER = / is empty, so there is nothing to learn/;

/**
 * Inspects files of examples: formats, problems, duplicates and lengths. Yields the number of records that it has read.
 *
 * @throws MosError `not_found`, `unsupported`, `storage`, `cancelled`; whatever is wrong with a record is part of the result.
 */
export async function* inspectDataset(
  paths: readonly string[],
  options: InspectDatasetOptions,
): AsyncGenerator<number, DatasetInspection> {
  const found = new Findings(options);
  const files: InspectedFile[] = [];
  let records = 0;
  for (const path of paths) {
    let file: InspectedFile = { path, format: undefined, examples: 0 };
    for await (const { form, example } of untilBroken(path, options)) {
      const isSound = example instanceof MosError ? found.addProblem(example) : found.addExample(example);
      file = { path, format: file.format ?? form, examples: file.examples + Number(isSound) };
      if (++records % PROGRESS_INTERVAL === 0) yield records;
    }
    files.push(file);
  }
  return {
    files,
    examples: files.reduce((sum, { examples }) => sum + examples, 0),
    ...found.summary(),
  };
}

/** The examples of a file; where its rest cannot be read, that is the last problem. */
async function* untilBroken(path: string, options: ReadExamplesOptions): AsyncGenerator<Reading, void> {
  let line = 0;
  try {
    for await (const reading of readExamples(path, options)) {
      line = reading.line;
      yield reading;
    }
  } catch (error) {
    if (!(error instanceof MosError) || error.code !== "bad_data") throw error;
    const rest = line === 0 ? "" : "; the rest of the file was not read";
    yield { line, form: undefined, example: new MosError("bad_data", `${firstLine(error)}${rest}`) };
  }
}

const firstLine = ({ message }: MosError): string => message.split("\n", 1)[0] ?? "";

/** What was found so far. */
class Findings {
  readonly #found = {
    problems: [] as string[],
    problemCount: 0,
    emptyAnswers: 0,
    duplicates: [] as Duplicate[],
    exactDuplicates: 0,
    nearDuplicates: 0,
    toolExamples: 0,
    callWarnings: [] as string[],
    callWarningCount: 0,
  };
  readonly #options: InspectDatasetOptions;
  /** Places by the checksum of an example, and of its normalised form. */
  readonly #exact = new Map<string, string>();
  readonly #near = new Map<string, string>();
  readonly #lengths: number[] = [];
  readonly #preferences = new PreferenceCounts();
  #checker: CallChecker | undefined;

  constructor(options: InspectDatasetOptions) {
    this.#options = options;
  }

  addProblem(error: MosError): false {
    this.#found.problemCount++;
    if (EMPTY_ANSWER.test(error.message)) this.#found.emptyAnswers++;
    if (this.#found.problems.length < this.#options.limit) this.#found.problems.push(firstLine(error));
    return false;
  }

  /** Adds an example, and says whether a run could use it. */
  addExample(example: Example): boolean {
    const { text } = this.#options;
    let sequences: readonly EncodedExample[] | undefined;
    try {
      sequences = text === undefined ? undefined : this.#encode(example, text);
    } catch (error) {
      if (!(error instanceof MosError)) throw error;
      return this.addProblem(error);
    }
    this.#preferences.add(example, sequences);
    this.#findDuplicate(example);
    this.#checkCalls(example);
    return true;
  }

  #encode(example: Example, text: LoadedText): readonly EncodedExample[] {
    const options = { ...text, maxLength: Number.MAX_SAFE_INTEGER };
    const sequences = encodeSequences(example, options).map(({ encoded }) => encoded);
    const lengths = sequences.map(({ ids }) => ids.length);
    const isPair = example.kind === "pair"; // whose answers share a row
    this.#lengths.push(...(isPair ? [lengths.reduce((sum, length) => sum + length, 0)] : lengths));
    return sequences;
  }

  #checkCalls(example: Example): void {
    if (!hasTools(example)) return;
    this.#found.toolExamples++;
    this.#checker ??= new CallChecker();
    const problem = this.#checker.findProblem(example);
    if (problem === undefined) return;
    this.#found.callWarningCount++;
    if (this.#found.callWarnings.length < this.#options.limit)
      this.#found.callWarnings.push(`${placeText(example)}: ${problem}`);
  }

  #findDuplicate(example: Example): void {
    const place = placeText(example);
    const texts = contentsOf(example);
    const exact = checksum(texts);
    const near = checksum(texts.map(normalise));
    const same = this.#exact.get(exact);
    const first = same ?? this.#near.get(near);
    if (same === undefined) this.#exact.set(exact, place);
    if (first === undefined) {
      this.#near.set(near, place);
      return;
    }
    const isNear = same === undefined;
    if (isNear) this.#found.nearDuplicates++;
    else this.#found.exactDuplicates++;
    if (this.#found.duplicates.length < this.#options.limit)
      this.#found.duplicates.push({ place, first, isNear });
  }

  summary(): Omit<DatasetInspection, "files" | "examples"> {
    return { ...this.#found, tokens: this.#tokenLengths(), ...this.#preferences.summary() };
  }

  #tokenLengths(): TokenLengths | undefined {
    const lengths = this.#lengths;
    if (lengths.length === 0) return undefined;
    const truncated = lengths.filter((length) => length > this.#options.maxLength).length;
    return { ...describeLengths(lengths), truncated };
  }
}

/** The authors and texts of an example, without its place. */
const contentsOf = (example: Example): readonly string[] => [
  ...(example.kind === "chat" ? example.turns.map(({ role }) => role) : []),
  ...textsOf(example),
];

// What preferences come to: how long prompts and answers are, and what a model could learn from them by mistake.

/** Lengths, and what they come to. */
interface Lengths {
  readonly total: number;
  readonly min: number;
  readonly median: number;
  readonly p95: number;
  readonly max: number;
}

/** Pairs of answers. Lengths are in tokens, or in characters where no tokens are counted. */
interface PairCounts {
  readonly count: number;
  readonly unit: "tokens" | "characters";
  readonly prompt: Lengths;
  readonly chosen: Lengths;
  readonly rejected: Lengths;
  /** Pairs whose chosen answer is the longer one: where most are, length may be what is learnt. */
  readonly chosenLonger: number;
  /** Pairs whose prompt one before them has, too. */
  readonly repeatedPrompts: number;
}

/** Rated answers. */
interface RatedCounts {
  readonly count: number;
  readonly desirable: number;
}

/** Total, least, most, median, and what 95 % are at most. */
function describeLengths(lengths: readonly number[]): Lengths {
  const sorted = Int32Array.from(lengths).sort();
  const at = (share: number): number => sorted[Math.ceil(share * sorted.length) - 1] ?? 0;
  const total = sorted.reduce((sum, length) => sum + length, 0);
  return { total, min: sorted[0] ?? 0, median: at(0.5), p95: at(0.95), max: at(1) };
}

/** Counts the preferences of a data set. */
class PreferenceCounts {
  readonly #prompt: number[] = [];
  readonly #chosen: number[] = [];
  readonly #rejected: number[] = [];
  /** Checksums of the prompts, which would take as much memory as the file. */
  readonly #prompts = new Set<string>();
  #unit: PairCounts["unit"] = "characters";
  #rated = 0;
  #desirable = 0;

  /** Adds an example with its sequences, where tokens are counted. */
  add(example: Example, sequences: readonly EncodedExample[] | undefined): void {
    if (example.kind === "rated") {
      this.#rated++;
      this.#desirable += Number(example.isDesirable);
    }
    if (example.kind === "pair") this.#addPair(example, sequences);
  }

  #addPair(pair: PairExample, sequences: readonly EncodedExample[] | undefined): void {
    const [chosen, rejected] = [splitAnswer(pair.chosen), splitAnswer(pair.rejected)];
    const [one, other] = sequences ?? [];
    if (one !== undefined) this.#unit = "tokens";
    this.#prompt.push(one === undefined ? chosen.prompt.length : one.ids.length - one.targetTokens);
    this.#chosen.push(one?.targetTokens ?? chosen.answer.length);
    this.#rejected.push(other?.targetTokens ?? rejected.answer.length);
    this.#prompts.add(checksum([chosen.prompt]));
  }

  summary(): { readonly pairs: PairCounts | undefined; readonly rated: RatedCounts | undefined } {
    const [chosen, rejected] = [this.#chosen, this.#rejected];
    const count = chosen.length;
    const pairs: PairCounts = {
      count,
      unit: this.#unit,
      prompt: describeLengths(this.#prompt),
      chosen: describeLengths(chosen),
      rejected: describeLengths(rejected),
      chosenLonger: chosen.filter((length, i) => length > (rejected[i] ?? 0)).length,
      repeatedPrompts: count - this.#prompts.size,
    };
    const rated = { count: this.#rated, desirable: this.#desirable };
    return { pairs: count === 0 ? undefined : pairs, rated: rated.count === 0 ? undefined : rated };
  }
}

/** The text of an answer, and the texts before it. */
function splitAnswer(example: AnsweredExample): { readonly prompt: string; readonly answer: string } {
  const turns = conversationOf(example);
  const from = turns.findIndex(({ isTarget }) => isTarget);
  const write = (some: readonly Message[]): string => some.map(({ content }) => content).join("\n");
  return { prompt: write(turns.slice(0, from)), answer: write(turns.slice(from)) };
}
