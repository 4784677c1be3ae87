// The process of tasks that would hold all requests: each may take seconds and hundreds of megabytes.
import { exportAdapter, MosError, previewRun, type RunPreview } from "mixture-of-shards";
import { type CallContext, freeMemory, omitUndefined } from "mixture-of-shards-core/common";
import type { ChatClient } from "mixture-of-shards-core/data";
import {
  findExcess,
  type Grade,
  type Grader,
  grade,
  PythonGraders,
  readSample,
} from "mixture-of-shards-core/graders";
import { serveParent } from "mixture-of-shards-core/process";
import { OBJECTIVES } from "mixture-of-shards-core/training";
import type { OtherData } from "#store";
import { checkLines, type FileProblem, findOtherKind } from "./check-lines.ts";
import type { TrainRequest } from "./trainer.ts";
import { createTurns } from "./turns.ts";

/** A run to preview. */
export interface PreviewRequest
  extends Pick<TrainRequest, "model" | "data" | "validationData" | "adapter" | "settings" | "threads"> {
  /** Lines of the data; without them the first ones. */
  readonly lines?: readonly number[];
  /** Tokens of a line at most. */
  readonly maxShown: number;
}

async function findOtherData(order: PreviewRequest): Promise<OtherData | undefined> {
  const { data, validationData, settings } = order;
  const wanted = OBJECTIVES[settings.objective ?? "sft"].data;
  const kind = await findOtherKind(data, wanted);
  if (kind !== undefined) return { file: "training_file", kind };
  const other = validationData === undefined ? undefined : await findOtherKind(validationData, wanted);
  return other && { file: "validation_file", kind: other };
}

/** An answer to grade. */
export interface GradeOrder {
  readonly grader: Grader;
  readonly item: Readonly<Record<string, unknown>>;
  readonly text: string;
  readonly tenant: string;
  /** Seconds that it may take. */
  readonly seconds: number;
}

/** What the reader of a grading answers a request to a model. */
export type ModelAnswer =
  | { readonly completion: Awaited<ReturnType<ChatClient>> }
  | { readonly error: string };

const pythonGraders = new PythonGraders();
/** Whose Python runs next: one program of a tenant at a time. The gradings that have programs are limited before. */
const takePythonTurn = createTurns({ running: 2, what: "programs" });

const methods = {
  check: ({ path, most }: { path: string; most: number }): Promise<readonly FileProblem[]> =>
    checkLines(path, most),
  preview: async (request: PreviewRequest): Promise<RunPreview | OtherData> => {
    const other = await findOtherData(request);
    if (other !== undefined) return other;
    const { threads, validationData, ...order } = request;
    const { bytes, resident } = await freeMemory();
    const made = await previewRun({
      ...order,
      ...omitUndefined({ validationData }),
      scoreModel: () => Promise.reject(new Error("a preview grades nothing")),
      session: { threads },
      // the base of a worker is in memory already, or on another machine: what is free here refuses nothing
      free: { bytes: Number.POSITIVE_INFINITY, resident: 0, limit: "machine" },
    });
    return { ...made, free: { bytes, resident, limit: "machine" } };
  },
  grade: async (
    { grader, item, text, tenant, seconds }: GradeOrder,
    { signal, deliver }: CallContext<Parameters<ChatClient>[0]>,
  ): Promise<Grade> => {
    const input = { item, sample: readSample(text) };
    const excess = findExcess(grader, input);
    if (excess !== undefined) throw new MosError("bad_option", `${excess}; shorten its texts or the item`);
    return grade(grader, input, {
      ...{ signal, seconds },
      scoreModel: async (request) => {
        const answer = (await deliver(request)) as ModelAnswer;
        if ("error" in answer) throw new Error(answer.error);
        return answer.completion;
      },
      python: {
        run: (source, given, ending = signal) =>
          takePythonTurn(() => pythonGraders.run(source, given, ending), { tenant, signal: ending }),
      },
    });
  },
  convert: async (
    conversion: Pick<Parameters<typeof exportAdapter>[0], "adapter" | "model" | "out" | "baseName">,
  ): Promise<void> => {
    // where another server has written it meanwhile, it is the same; and jobs of the base have been trained on it
    await exportAdapter({ ...conversion, format: "peft", overwrite: true, isBaseKnown: true });
  },
};

export type TaskMethods = typeof methods;
serveParent(methods);
