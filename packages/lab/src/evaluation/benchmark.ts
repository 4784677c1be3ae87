// The contract of a benchmark: where its data are, what it asks a model, how a prediction is scored, and how scores become
// the figures of a table.

import { type EngineOptions, type LoadedText, MosError } from "mixture-of-shards";
import type { CheckReason, ProgramChecker } from "mixture-of-shards-core/graders";
import type { answerFormat } from "mixture-of-shards-core/text";
import type { z } from "zod";
import type { BenchmarkData, Tables } from "./data.ts";

/** Whose rules: open-instruct's of November 2023, which the paper's tables use, or lm-evaluation-harness's. */
export const RULES = ["open-instruct", "lm-eval"] as const;
/** One of `RULES`. */
export type Rules = (typeof RULES)[number];

/** Formats of a prompt as a chat: Tulu's tags, the model's own template, or none. */
export const CHAT_FORMATS = ["tulu", "model", "none"] as const;
/** One of `CHAT_FORMATS`. */
export type ChatFormat = (typeof CHAT_FORMATS)[number];

/** The format that the originals of the rules use. */
export const defaultChatFormat = (rules: Rules): ChatFormat => (rules === "open-instruct" ? "tulu" : "none");

/** Output of a model for a question: one of some tokens, or texts. */
export type OutputSpec =
  | {
      readonly kind: "choice";
      /** Token ids whose log-probabilities after the prompt are compared; the first of equal ones wins. */
      readonly candidates: readonly number[];
      /** Label of each, such as A to D. */
      readonly labels: readonly string[];
    }
  | {
      readonly kind: "text";
      readonly maxTokens: number;
      /** Texts that end a prediction and are not part of it. */
      readonly stop: readonly string[];
      /** 0 is greedy. */
      readonly temperature: number;
      readonly topP: number;
      /** Predictions that are drawn for each question. */
      readonly samples: number;
      /** Constrains what the model writes. */
      readonly grammar?: ReturnType<typeof answerFormat>["grammar"];
      /** What is kept of the model's text as the prediction. Default: all of it. */
      readonly read?: (text: string) => string;
    };

/** One text, of the likeliest tokens. */
export const GREEDY = { kind: "text", temperature: 0, topP: 1, samples: 1 } as const;

/** One question, ready for a model. */
export interface Question {
  /** Unique in its benchmark, and the same in every run: `bbh/snarks/12`. */
  readonly id: string;
  /** MMLU's subject, BBH's task or TyDi QA's language; the benchmark's name where there are no groups. */
  readonly group: string;
  /** All of the text that the model sees, lead-in included. */
  readonly prompt: string;
  /** The same as token ids, with the tokenizer's BOS where it has one. */
  readonly tokens: readonly number[];
  readonly output: OutputSpec;
  /** References of a prediction. HumanEval: [prompt, test, entry point]. */
  readonly references: readonly string[];
}

/** Settings of prompts, the same for every model and adapter. */
export interface PromptSettings {
  readonly rules: Rules;
  readonly format: ChatFormat;
  /** Variables of the model's chat template, where that is the format. */
  readonly chatTemplateKwargs?: EngineOptions["chatTemplateKwargs"];
  /** Examples before the question. Default: the rules' own number. */
  readonly shots?: number | undefined;
  /** Number of questions, from the first of a random order that `seed` draws (all groups alike). Default: all. */
  readonly limit?: number | undefined;
  /** Seed of the choice of questions, and of sampled predictions. */
  readonly seed: number;
  /** HumanEval: predictions for each question, and their temperature. Default: the rules' own. */
  readonly samples?: number | undefined;
  readonly temperature?: number | undefined;
  /** BBH: examples that show only the answer, without a chain of thought. */
  readonly direct?: boolean | undefined;
}

/** Options of making questions. */
export interface QuestionOptions extends PromptSettings {
  readonly text: LoadedText;
  /** Stops the making of prompts, which may take half a minute. */
  readonly signal?: AbortSignal | undefined;
}

/** All questions of a benchmark in one run, and their description in the result. */
export interface QuestionSet {
  readonly questions: readonly Question[];
  readonly shots: number;
  /** The chat format of a benchmark that knows only one. */
  readonly format?: ChatFormat;
  /** BBH: whether the examples are without chains of thought. */
  readonly direct?: boolean;
  /** Digest of everything that was read. */
  readonly dataDigest: string;
  /** Deviations from the rules, such as an example that was drawn from another language. */
  readonly notes: readonly string[];
}

/** Verdict of a scorer on one prediction. */
export interface Verdict {
  /** Part of the prediction that was compared. */
  readonly extracted: string;
  /** By metric, on the benchmark's scale. The first is the one that tables show. */
  readonly scores: Readonly<Record<string, number>>;
  /** End of the program that was run for it. */
  readonly reason?: CheckReason | undefined;
}

/** Scores one prediction against the right ones. Pure: the same text gets the same scores. */
export type Scorer = (prediction: string, references: readonly string[]) => Verdict;

/** A question with the scores of its predictions. */
export interface ScoredQuestion {
  readonly id: string;
  readonly group: string;
  readonly verdicts: readonly Pick<Verdict, "scores">[];
}

/** The figures of a benchmark, or of one of its groups. */
export interface ScoreSummary {
  /** By metric, as Verdict has them; means that the rules name have names of their own, such as `pass@1`. */
  readonly scores: Readonly<Record<string, number>>;
  /** Standard errors of the scores, on their scale; none where they are not known, as of one question. */
  readonly errors: Readonly<Record<string, number>>;
  /** Number of right questions, by those metrics whose score is the share of them. */
  readonly right: Readonly<Record<string, number>>;
  readonly questions: number;
}

/** Overall, and by group in the order of the groups' names. */
export interface Summaries {
  readonly overall: ScoreSummary;
  readonly groups: ReadonlyMap<string, ScoreSummary>;
}

/** Source of a benchmark on the Hugging Face Hub, and the conversion of its tables to the files of a folder. */
export interface HubSource {
  readonly repository: string;
  /** Tests whether a Parquet table is needed. */
  readonly wants: (config: string, split: string) => boolean;
  /** Writes the files that `read` reads below `folder`. */
  readonly write: (tables: Tables, folder: string) => Promise<void>;
  /** Text files that the data set lacks, which are fetched from elsewhere. */
  readonly texts?: {
    /** Description in messages: `BBH's prompts`. */
    readonly what: string;
    /** The repository on GitHub, and the address of the folder that holds them. */
    readonly repository: string;
    readonly url: string;
    /** Folder of the files below the benchmark's. */
    readonly folder: string;
    /** Contents of a folder of `--data` instead. */
    readonly instead: string;
    readonly names: (tables: Tables) => readonly string[];
  };
}

interface BenchmarkBase<Name extends string> {
  readonly name: Name;
  /** The metric of the paper's tables, by rules. */
  readonly metric: Readonly<Record<Rules, string>>;
  /** The highest score: 1, or 100 where the original scores in per cent. */
  readonly scale: 1 | 100;
  /** On the hub; or, where nothing is fetched, how to get the data into a folder of `--data`. */
  readonly source: HubSource | { readonly instructions: string };
  /** Reads and checks all of its data. Throws `not_found`, `bad_data`, `storage`. */
  read(folder: string): Promise<BenchmarkData>;
  /** Reads its data from a folder laid out as `docs/reference/files.md` says. Throws `bad_option`, `not_found`, `bad_data`. */
  questions(folder: string, options: QuestionOptions): Promise<QuestionSet>;
  /** References as the lines of `mos score` hold them. Default: a text, or a list of texts. */
  readonly references?: z.ZodType<string | readonly string[]>;
  /** The figures of these questions, overall and by group. */
  summarise(scored: readonly ScoredQuestion[]): Summaries;
}

/** A benchmark whose predictions are scored by their text. */
export interface TextBenchmark<Name extends string = string> extends BenchmarkBase<Name> {
  /** By rules. */
  readonly scorers: Readonly<Record<Rules, Scorer>>;
}

/** A benchmark whose predictions are run as programs: one that runs to its end without an error has passed. */
export interface ProgramBenchmark<Name extends string = string> extends BenchmarkBase<Name> {
  /** The Python program that a prediction becomes. Throws `bad_data` for references that it does not know. */
  readonly program: (prediction: string, references: readonly string[]) => string;
}

/** A benchmark: its data, prompts, scoring and summary. */
export type Benchmark<Name extends string = string> = TextBenchmark<Name> | ProgramBenchmark<Name>;

/**
 * Scores one prediction, by its text or by running it as a program.
 *
 * @throws MosError `bad_option` where a program is to be run and there is no checker; `bad_data` for references that the
 * benchmark does not know, `cancelled`, and what the checker throws.
 * @example
 * const { scores } = await scorePrediction(benchmarks.gsm8k, { prediction: "It is 18.", references: ["18"] }, { rules: "lm-eval" });
 */
export async function scorePrediction(
  benchmark: Benchmark,
  { prediction, references }: { readonly prediction: string; readonly references: readonly string[] },
  { rules, checker, signal }: ScoringTools,
): Promise<Verdict> {
  if ("scorers" in benchmark) return benchmark.scorers[rules](prediction, references);
  if (checker === undefined)
    throw new MosError(
      "bad_option",
      `${benchmark.name}: this benchmark runs programs and requires a checker`,
    );
  const { passed, reason } = await checker.check(benchmark.program(prediction, references), signal);
  return { extracted: prediction, scores: { passed: passed ? 1 : 0 }, reason };
}

/** Whose rules score, and what runs programs. */
export interface ScoringTools {
  /** Rules of the scorers of a TextBenchmark. */
  readonly rules: Rules;
  /** Runs the programs of a ProgramBenchmark. */
  readonly checker?: ProgramChecker | undefined;
  readonly signal?: AbortSignal | undefined;
}
