// The process of tasks that would hold all requests: each may take seconds and hundreds of megabytes.
import { createReadStream } from "node:fs";
import { checkDataset, exportAdapter, MosError, previewRun, type RunPreview } from "mixture-of-shards";
import { freeMemory, omitUndefined, serveParent } from "mixture-of-shards/cli";
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

/** First bytes of files that look like broken JSON, and what they are. */
const OTHER_FILES = [
  ["\x1f\x8b", "compressed with gzip; send it uncompressed"],
  ["PK\x03\x04", "a ZIP archive or an Office document; send JSON Lines"],
  ["%PDF", "a PDF; extract its text (pdftotext), which mos data makes examples of"],
  ["PAR1", "a Parquet table; convert it to JSON Lines with mos data convert"],
] as const;

/** @throws MosError `bad_data` for a file of another kind. */
async function assertLines(path: string): Promise<void> {
  for await (const chunk of createReadStream(path, { end: 3, encoding: "latin1" })) {
    const found = OTHER_FILES.find(([start]) => (chunk as string).startsWith(start));
    if (found !== undefined) throw new MosError("bad_data", `${path} is ${found[1]}`);
  }
}

/** A wrong line of a file. */
export interface LineProblem {
  readonly line: number;
  readonly message: string;
}

const methods = {
  check: async ({ path, most }: { path: string; most: number }): Promise<readonly LineProblem[]> => {
    await assertLines(path);
    const problems: LineProblem[] = [];
    await checkDataset(path, {
      onProblem: ({ message }, line) => problems.push({ line, message }) < most,
    });
    return problems;
  },
  preview: async ({ threads, validationData, ...order }: PreviewRequest): Promise<RunPreview> => {
    const { bytes, resident } = await freeMemory();
    const made = await previewRun({
      ...order,
      ...omitUndefined({ validationData }),
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
