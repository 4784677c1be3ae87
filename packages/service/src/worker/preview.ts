// Previews of jobs, each in a process of its own that is ended when it takes too long or its client has left.
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { RunPreview } from "mixture-of-shards";
import { childOptions, type ErrorCode, limitConcurrency, MosError } from "mixture-of-shards/core";
import type { PreviewOrder, PreviewReport } from "./orders.ts";

/** What previews may take of the server. */
export interface PreviewLimits {
  /** Previews that wait for the one that is made. */
  readonly waiting: number;
  readonly seconds: number;
  /** Of the process's heap. */
  readonly megabytes: number;
}

/** What previews may take unless it is said otherwise. */
export const defaultPreviewLimits: PreviewLimits = { waiting: 8, seconds: 300, megabytes: 2048 };

/** Makes a preview, or throws MosError: `busy` where too many wait, and as `previewRun`. */
export type MakePreview = (order: PreviewOrder, signal: AbortSignal) => Promise<RunPreview>;

/** Previews one after the other. */
export function createPreviewer(limits: PreviewLimits = defaultPreviewLimits): MakePreview {
  const oneAtATime = limitConcurrency(1);
  let count = 0;
  return async (order, signal) => {
    if (count > limits.waiting)
      throw new MosError(
        "busy",
        `${limits.waiting} previews are waiting already; send the request again later`,
      );
    count++;
    try {
      return await oneAtATime(() => inProcess(order, { ...limits, signal }), signal);
    } finally {
      count--;
    }
  };
}

const ENTRY = new URL(`./preview-process${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url);

function inProcess(
  order: PreviewOrder,
  { seconds, megabytes, signal }: PreviewLimits & { readonly signal: AbortSignal },
): Promise<RunPreview> {
  const entry = fileURLToPath(ENTRY);
  const child = fork(entry, [], {
    execArgv: [...childOptions(entry), `--max-old-space-size=${megabytes}`],
    serialization: "advanced",
    stdio: ["ignore", "ignore", "inherit", "ipc"],
    killSignal: "SIGKILL",
    ...{ signal, timeout: seconds * 1000 },
  });
  return new Promise((resolve, reject) => {
    child.once("message", (report: PreviewReport) => {
      if (report.type === "preview") resolve(report.preview);
      else if (report.code === "unexpected") reject(new Error(report.message));
      else reject(new MosError(report.code as ErrorCode, report.message));
    });
    child.once("error", reject); // it could not be started, or the signal has ended it
    child.once("exit", () =>
      reject(
        new MosError(
          "memory",
          `the file takes more than the ${seconds} s or the ${megabytes} MB that a preview may; preview a part of it`,
        ),
      ),
    );
    child.send(order, () => undefined);
  });
}
