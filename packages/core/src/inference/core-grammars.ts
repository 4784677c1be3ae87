// The grammars of a core: as bytes under their digests, compiled for the model's vocabulary when they are used first; and the time that
// they have in a step of the model, so that one that is hard to match holds up no other row.
import { CompiledGrammar, type Matcher, type PreparedGrammar, Vocabulary } from "mixture-of-shards-grammar";
import { MosError } from "#common";
import { deserialize } from "#platform";
import type { Tokenizer } from "#text";

interface Entry {
  /** Serialised. */
  readonly grammar: Uint8Array;
  /** While it is compiled, and then. */
  building?: Promise<CompiledGrammar>;
  /** With the states and masks that its answers have needed so far. */
  compiled?: CompiledGrammar;
}

/** What grammars are compiled for, and how much memory they may keep. */
interface GrammarOptions {
  readonly tokenizer: Pick<Tokenizer, "idToBytes" | "idToToken" | "isSpecial">;
  /** Number of logits. */
  readonly vocabularySize: number;
  readonly endTokens: readonly number[];
  /** Bytes of states and masks that grammars keep for later answers (64 MB). */
  readonly limitBytes?: number;
}

/** Grammars, of which the caller decides how many are kept as data. */
export class CoreGrammars {
  readonly #options: GrammarOptions;
  /** The one that was used last comes last. */
  readonly #entries = new Map<string, Entry>();
  #vocabulary: Promise<Vocabulary> | undefined;

  constructor(options: GrammarOptions) {
    this.#options = options;
  }

  /** Bytes of states and masks. */
  get bytes(): number {
    let bytes = 0;
    for (const { compiled } of this.#entries.values()) bytes += compiled?.bytes ?? 0;
    return bytes;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Keeps a grammar, serialised, under its digest, or forgets it: matchers that were asked for stay. */
  set(digest: string, grammar: Uint8Array | undefined): void {
    this.#entries.delete(digest);
    if (grammar !== undefined) this.#entries.set(digest, { grammar });
  }

  /** A matcher at the start of an answer. First calls build the vocabulary, and the grammar, while other work of the thread runs. */
  async matcher(digest: string, options: { readonly strippedBlanks: number }): Promise<Matcher> {
    const entry = this.#entries.get(digest);
    if (entry === undefined) throw new MosError("device", `the engine has no grammar ${digest}`);
    this.#vocabulary ??= this.#buildVocabulary();
    const vocabulary = await this.#vocabulary;
    entry.building ??= this.#build(entry, vocabulary);
    const compiled = await entry.building;
    entry.compiled = compiled;
    if (this.#entries.get(digest) === entry) {
      this.#entries.delete(digest);
      this.#entries.set(digest, entry);
    }
    this.#trim();
    return compiled.buildMatcher(options);
  }

  async #build(entry: Entry, vocabulary: Vocabulary): Promise<CompiledGrammar> {
    try {
      return await CompiledGrammar.build(() => deserialize(entry.grammar) as PreparedGrammar, vocabulary);
    } catch (error) {
      // it may have failed because the machine was busy
      delete entry.building;
      throw error;
    }
  }

  #buildVocabulary(): Promise<Vocabulary> {
    const { tokenizer, vocabularySize, endTokens } = this.#options;
    // an end token that the tokenizer counts as text would end an answer in the middle of one
    const isSpecial = (id: number): boolean => tokenizer.isSpecial(id) || endTokens.includes(id);
    return Vocabulary.build({
      size: vocabularySize,
      bytesOf: (id) => tokenizer.idToBytes(id),
      specialName: (id) => (isSpecial(id) ? tokenizer.idToToken(id) : undefined),
      endTokens: endTokens.filter((id) => id < vocabularySize),
    });
  }

  /** Drops states and masks of grammars that were not used for long; the one that was used last stays. */
  #trim(): void {
    const { limitBytes = 64e6 } = this.#options;
    let bytes = this.bytes;
    let left = this.#entries.size;
    for (const entry of this.#entries.values()) {
      if (bytes <= limitBytes || --left === 0) return;
      bytes -= entry.compiled?.bytes ?? 0;
      if (entry.compiled) delete entry.building;
      delete entry.compiled;
    }
  }
}

/** Milliseconds of a step: less than most models take for theirs. */
const PER_STEP = 16;
/** How many times as long grammars may take while no row waits for anything else. */
const ALONE = 3;

/**
 * Shares out the time of each step. A row whose share is over waits, and goes on when all others have had theirs, or in a later step. Each
 * row does a small piece of its work at least, up to the first place where that can stop.
 */
export class GrammarTime {
  readonly #perStep: number;
  readonly #now: () => number;
  #left: number;
  /** Rows that have not had a share yet. */
  #rows = 0;

  /**
   * @param perStep - milliseconds
   * @param now - milliseconds from any start
   */
  constructor(perStep = PER_STEP, now = () => performance.now()) {
    this.#perStep = perStep;
    this.#now = now;
    this.#left = perStep;
  }

  /** Begins a step in which so many rows with grammars run, also those that wait. */
  begin(rows: number): void {
    this.#left = this.#perStep;
    this.#rows = rows;
  }

  /** Shares what is left of the step, which is more where nothing else runs, among the rows that were not ready. */
  shareRest({ waiting, running }: { readonly waiting: number; readonly running: number }): void {
    if (waiting === running) this.#left = this.#perStep * ALONE;
    this.#rows = waiting;
  }

  /** Runs work of a row, which asks whether its share is over. */
  share<Result>(work: (isOver: () => boolean) => Result): Result {
    const share = this.#left / Math.max(1, this.#rows);
    this.#rows--;
    const start = this.#now();
    try {
      return work(() => this.#now() - start > share);
    } finally {
      this.#left = Math.max(0, this.#left - (this.#now() - start));
    }
  }
}
