// Python graders: `def grade(sample, item) -> float` in the sandbox.
import { closeWhenIdle, MosError } from "#common";
import { createProgramChecker, type ProgramChecker } from "./program-checker.ts";
import type { GradeInput } from "./template.ts";

/** OpenAI's limits for a grader. The sandbox has its own for temporary files, which are in memory. */
const LIMITS = { seconds: 120, memory: 2 * 2 ** 30, workers: 2 };

/** Seconds without a program after which the sandbox gives its memory back. */
const IDLE_SECONDS = 60;

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

/**
 * Runs Python graders. The sandbox is opened when the first one runs, which takes seconds, and closed when none has run for a
 * minute. Disposing ends its processes.
 */
export class PythonGraders implements AsyncDisposable {
  readonly #open: () => Promise<ProgramChecker>;
  readonly #whileUsed = closeWhenIdle(
    IDLE_SECONDS,
    () => void this[Symbol.asyncDispose]().catch(() => undefined),
  );
  #checker: Promise<ProgramChecker> | undefined;
  /** All that were opened: when one fails, other programs may still run in it. */
  readonly #opened = new Set<Promise<ProgramChecker>>();

  /** @param open opens the sandbox */
  constructor(limits: Partial<Limits> = {}, open: typeof createProgramChecker = createProgramChecker) {
    this.#open = () => open({ ...LIMITS, ...limits });
  }

  /** @throws MosError `cancelled` */
  run(source: string, input: GradeInput, signal: AbortSignal | undefined): Promise<PythonGrade> {
    return this.#whileUsed(() => this.#check(programOf(source, input), signal));
  }

  async #check(program: string, signal: AbortSignal | undefined): Promise<PythonGrade> {
    if (signal?.aborted === true)
      throw new MosError("cancelled", "grading was interrupted", { cause: signal.reason });
    this.#checker ??= this.#open();
    this.#opened.add(this.#checker);
    const opening = this.#checker;
    try {
      const checker = await opening;
      const { reason } = await checker.check(program, signal);
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

  /** Ends its processes. */
  async [Symbol.asyncDispose](): Promise<void> {
    const opened = [...this.#opened];
    this.#opened.clear();
    this.#checker = undefined;
    // one that could not be opened has nothing to close
    await Promise.all(
      opened.map((checker) =>
        checker.then(
          (one) => one[Symbol.asyncDispose](),
          () => undefined,
        ),
      ),
    );
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
