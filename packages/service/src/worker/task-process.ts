// The process of tasks that would hold all requests: each may take seconds and hundreds of megabytes.
import { exportAdapter, previewRun, type RunPreview } from "mixture-of-shards";
import { freeMemory, omitUndefined, serveParent } from "mixture-of-shards/cli";
import { checkLines, type LineProblem } from "./check-lines.ts";
import type { TrainRequest } from "./trainer.ts";

/** A run to preview. */
export interface PreviewRequest
  extends Pick<TrainRequest, "model" | "data" | "validationData" | "adapter" | "settings" | "threads"> {
  /** Lines of the data; without them the first ones. */
  readonly lines?: readonly number[];
  /** Tokens of a line at most. */
  readonly maxShown: number;
}

/** An adapter, its base, and where the result goes. */
export interface Conversion
  extends Required<Pick<Parameters<typeof exportAdapter>[0], "adapter" | "model" | "out" | "baseName">> {}

const methods = {
  check: ({ path, most }: { path: string; most: number }): Promise<readonly LineProblem[]> =>
    checkLines(path, most),
  preview: async ({ threads, validationData, ...order }: PreviewRequest): Promise<RunPreview> => {
    const { bytes, resident } = await freeMemory();
    const made = await previewRun({
      ...order,
      ...omitUndefined({ validationData }),
      // nothing is graded
      scoreModel: async () => undefined,
      session: { threads },
      // the base of a worker is in memory already, or on another machine: what is free here refuses nothing
      free: { bytes: Number.POSITIVE_INFINITY, resident: 0, limit: "machine" },
    });
    return { ...made, free: { bytes, resident, limit: "machine" } };
  },
  convert: async (conversion: Conversion): Promise<void> => {
    // where another server has written it meanwhile, it is the same; and jobs of the base have been trained on it
    await exportAdapter({ ...conversion, format: "peft", overwrite: true, isBaseKnown: true });
  },
};

export type TaskMethods = typeof methods;
serveParent(methods);
