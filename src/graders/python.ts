// Python graders: `def grade(sample, item) -> float` in the sandbox.
import { MosError } from "#core";
import { createProgramChecker, type ProgramChecker } from "#sandbox";
import type { GradeInput } from "./template.ts";

/** OpenAI's limits for a grader. The sandbox has its own for temporary files, which are in memory. */
const LIMITS = { seconds: 120, memory: 2 * 2 ** 30, workers: 2 };

/** Ends a program: the text of this error is the grade. */
const RESULT = "GradeOfThisAnswer";
const REASON = new RegExp(`^failed: ${RESULT}: (.*)$`, "s");

/** Seconds and bytes of memory of one program, and programs at a time. */
type Limits = Readonly<typeof LIMITS>;

/** What came of a program. */
export type PythonGrade =
  | { readonly reward: number }
  /** Whether the fault is the program's, or that of the machine that should run it. */
  | { readonly fault: "program" | "sandbox"; readonly details: string };

/** Runs Python graders. The sandbox is opened when the first one runs, which takes seconds. */
export class PythonGraders implements AsyncDisposable {
  readonly #limits: Limits;
  #checker: Promise<ProgramChecker> | undefined;
  /** All that were opened: when one fails, other programs may still run in it. */
  readonly #opened = new Set<ProgramChecker>();

  constructor(limits: Partial<Limits> = {}) {
    this.#limits = { ...LIMITS, ...limits };
  }

  /** @throws MosError `cancelled` */
  async run(
    source: string,
    { item, sample }: GradeInput,
    signal: AbortSignal | undefined,
  ): Promise<PythonGrade> {
    this.#checker ??= this.#open();
    const opening = this.#checker;
    try {
      const checker = await opening;
      const { reason } = await checker.check(programOf(source, { item, sample }), signal);
      const [, grade] = REASON.exec(reason) ?? [];
      const reward = Number(grade);
      if (grade !== undefined && Number.isFinite(reward)) return { reward };
      return {
        fault: "program",
        details: grade === undefined ? reason.replace(/^failed: /, "") : `grade returned ${grade}`,
      };
    } catch (error) {
      if (!(error instanceof MosError) || error.code === "cancelled") throw error;
      if (this.#checker === opening) this.#checker = undefined;
      return { fault: "sandbox", details: error.message };
    }
  }

  async #open(): Promise<ProgramChecker> {
    const checker = await createProgramChecker(this.#limits);
    this.#opened.add(checker);
    return checker;
  }

  /** Ends the processes of the sandbox. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#checker?.catch(() => undefined);
    await Promise.all(Array.from(this.#opened, (checker) => checker[Symbol.asyncDispose]()));
  }
}

/** Text of Python for a value: JSON in quotation marks, whose escapes both languages share. */
const quoted = (value: unknown): string => JSON.stringify(JSON.stringify(value));

/** The source, and after it a call of its function, whose value leaves as the text of an error. */
const programOf = (source: string, { item, sample }: GradeInput): string => `${source}

def ${RESULT}():
    import json
    grade_ = float(grade(json.loads(${quoted(sample)}), json.loads(${quoted(item)})))
    raise type("${RESULT}", (Exception,), {})(repr(grade_))

${RESULT}()
`;
