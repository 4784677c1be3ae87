// The contract of a benchmark: what it asks a model, how answers are marked, how marks become the figures of a table.
import type { CheckReason, ProgramChecker } from "#sandbox";
import type { LoadedText } from "#text";

export const TASK_NAMES = ["mmlu", "bbh", "gsm8k", "tydiqa", "humaneval"] as const;
export type TaskName = (typeof TASK_NAMES)[number];

/** Whose rules: open-instruct's of November 2023, which the paper's tables use, or lm-evaluation-harness's. */
export const RULES = ["open-instruct", "lm-eval"] as const;
export type Rules = (typeof RULES)[number];

/** How a prompt becomes a chat: Tulu's tags, the model's own template, or not at all. */
export const CHAT_FORMATS = ["tulu", "model", "none"] as const;
export type ChatFormat = (typeof CHAT_FORMATS)[number];

/** What a scorer says of one answer. */
export interface Verdict {
  /** What was taken from the answer to be compared. */
  readonly extracted: string;
  /** By metric, on the scale of the original: 0 to 1, but 0 to 100 for TyDi QA's. The first is the one that tables show. */
  readonly scores: Readonly<Record<string, number>>;
  /** How a program ended that was run for it. */
  readonly reason?: CheckReason | undefined;
}

/** Marks one answer against the right ones. Pure: the same text gets the same mark. */
export type Scorer = (prediction: string, references: readonly string[]) => Verdict;

/** What a model is asked: one of some tokens, or texts of its own. */
export type Ask =
  | {
      readonly kind: "choice";
      /** Token ids whose log-probabilities behind the prompt are compared; the first of equal ones wins. */
      readonly candidates: readonly number[];
      /** What each stands for, such as A to D. */
      readonly labels: readonly string[];
    }
  | {
      readonly kind: "text";
      readonly maxTokens: number;
      readonly stops: readonly string[];
      /** 0 is greedy. */
      readonly temperature: number;
      readonly topP: number;
      /** Answers that are drawn of each question. */
      readonly samples: number;
    };

/** One question, ready for a model. */
export interface Question {
  /** Unique in its task, and the same in every run: `bbh/snarks/12`. */
  readonly id: string;
  /** Subject, BBH task or language; the task's name where there are no groups. */
  readonly group: string;
  /** All of the text that the model sees, lead-in included. */
  readonly prompt: string;
  /** The same as token ids, with the tokenizer's first token where it has one. */
  readonly tokens: readonly number[];
  readonly ask: Ask;
  /** What a scorer is given. HumanEval: [prompt, test, entry point]. */
  readonly references: readonly string[];
}

/** How every question is put, whatever the model and the adapter. */
export interface PromptSettings {
  readonly rules: Rules;
  readonly format: ChatFormat;
  /** Examples before the question; the rules' own number without. */
  readonly shots?: number | undefined;
  /** The first so many questions of a random order that `seed` draws (all groups alike); all without. */
  readonly limit?: number | undefined;
  /** Of the choice of questions, and of answers that are drawn. */
  readonly seed: number;
  /** HumanEval: answers of each question, and their temperature; the rules' own without. */
  readonly samples?: number | undefined;
  readonly temperature?: number | undefined;
  /** BBH: examples that show only the answer, without a chain of thought. */
  readonly direct?: boolean | undefined;
}

/** What the rules' own programs use, where nobody says otherwise. */
export const usualFormat = (rules: Rules): ChatFormat => (rules === "open-instruct" ? "tulu" : "none");

/** What questions are made with. */
export interface QuestionOptions extends PromptSettings {
  readonly text: LoadedText;
  /** Stops the making of prompts, which may take half a minute. */
  readonly signal?: AbortSignal | undefined;
}

/** All questions of a task, and what a result says of them. */
export interface Questions {
  readonly questions: readonly Question[];
  readonly shots: number;
  /** BBH: whether the examples are without chains of thought. */
  readonly direct?: boolean;
  /** Of everything that was read. */
  readonly dataDigest: string;
  /** What differs from the rules, such as an example that was drawn from another language. */
  readonly notes: readonly string[];
}

/** A question with the marks of its answers. */
export interface Marked {
  readonly id: string;
  readonly group: string;
  readonly verdicts: readonly Pick<Verdict, "scores">[];
}

/** The figures of a task or of one of its groups. */
export interface Summary {
  /** By metric, as Verdict has them; means that the rules name have names of their own, such as `pass@1`. */
  readonly scores: Readonly<Record<string, number>>;
  readonly questions: number;
}

/** A benchmark. */
export interface Task {
  readonly name: TaskName;
  /** The metric of the paper's tables, by rules. */
  readonly metric: Readonly<Record<Rules, string>>;
  /** Reads its data from a folder laid out as `docs/12-evaluation.md` says. Throws `not_found`, `bad_data`. */
  questions(folder: string, options: QuestionOptions): Promise<Questions>;
  /** Whether marks are found by running programs: HumanEval's. */
  readonly runsPrograms: boolean;
  /** Marks the answers to one question; where programs are run, with a checker. */
  mark(
    question: Question,
    answers: readonly string[],
    tools: {
      readonly rules: Rules;
      readonly checker?: ProgramChecker | undefined;
      readonly signal?: AbortSignal | undefined;
    },
  ): Promise<readonly Verdict[]>;
  /** Overall, and by group in the order of the groups' names. */
  summarise(marks: readonly Marked[]): {
    readonly overall: Summary;
    readonly groups: ReadonlyMap<string, Summary>;
  };
}
