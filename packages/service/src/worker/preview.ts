// Previews of jobs, each in a process of its own that is ended when it takes too long or its client has left.
import { fork } from "node:child_process";
import type { RunPreview } from "mixture-of-shards";
import {
  childOptions,
  type ErrorCode,
  limitConcurrency,
  MosError,
  moduleBeside,
} from "mixture-of-shards/core";
import type { PreviewOrder, PreviewReport } from "./orders.ts";

/** What previews may take of the server. */
export interface PreviewLimits {
  /** Previews that wait for the one that is made. */
  readonly waiting: number;
  /** Previews that a tenant may have at a time. */
  readonly ofTenant: number;
  readonly seconds: number;
  /** Of the process's heap. */
  readonly megabytes: number;
}

/** What previews may take unless it is said otherwise. */
export const defaultPreviewLimits: PreviewLimits = {
  ...{ waiting: 8, ofTenant: 2 },
  ...{ seconds: 300, megabytes: 2048 },
};

/** Makes a preview, or throws MosError: `busy` where too many wait, and as `previewRun`. */
export type MakePreview = (
  order: PreviewOrder,
  client: { readonly tenant: string; readonly signal: AbortSignal },
) => Promise<RunPreview>;

/** Previews one after the other. */
export function createPreviewer(limits: PreviewLimits = defaultPreviewLimits): MakePreview {
  const oneAtATime = limitConcurrency(1);
  let all: readonly string[] = [];
  return async (order, { tenant, signal }) => {
    const own = all.filter((name) => name === tenant);
    if (all.length > limits.waiting || own.length >= limits.ofTenant)
      throw new MosError("busy", `${all.length} previews are waiting already; send the request again later`);
    all = [...all, tenant];
    try {
      return await oneAtATime(() => inProcess(order, { ...limits, signal }), signal);
    } finally {
      all = all.toSpliced(all.indexOf(tenant), 1);
    }
  };
}

const ENTRY = moduleBeside(import.meta.url, "preview-process");

function inProcess(
  order: PreviewOrder,
  { seconds, megabytes, signal }: PreviewLimits & { readonly signal: AbortSignal },
): Promise<RunPreview> {
  const child = fork(ENTRY, [], {
    execArgv: [...childOptions(ENTRY), `--max-old-space-size=${megabytes}`],
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
