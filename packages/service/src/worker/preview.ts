// Previews of jobs, each in a process of its own that is ended when it takes too long or its client has left.
import { type ErrorCode, MosError, type RunPreview } from "mixture-of-shards";
import { moduleBeside } from "mixture-of-shards/cli";
import { startChild } from "./child.ts";
import type { PreviewReport, PreviewRequest } from "./protocol.ts";
import { createTurns, type TurnClient, type TurnLimits } from "./turns.ts";

/** Limits of previews. */
export interface PreviewLimits extends TurnLimits {
  /** Seconds of one preview. */
  readonly seconds: number;
  /** Megabytes of the process's heap. */
  readonly megabytes: number;
}

/** Default limits of previews. */
export const defaultPreviewLimits: PreviewLimits = {
  running: 2,
  runningPerTenant: 1,
  perTenant: 2,
  waiting: 64,
  seconds: 300,
  megabytes: 2048,
};

/** Makes a preview, or throws MosError: `busy` where too many wait, and as `previewRun`. */
export type MakePreview = (order: PreviewRequest, client: TurnClient) => Promise<RunPreview>;

/** Previews in turn for each tenant: one that is slow holds up those of its own tenant only. */
export function createPreviewer(limits: PreviewLimits = defaultPreviewLimits): MakePreview {
  const takeTurn = createTurns(limits);
  return (order, client) => takeTurn(() => inProcess(order, { ...limits, signal: client.signal }), client);
}

const ENTRY = moduleBeside(import.meta.url, "preview-process");

function inProcess(
  order: PreviewRequest,
  { seconds, megabytes, signal }: PreviewLimits & { readonly signal: AbortSignal },
): Promise<RunPreview> {
  const execArgv = [`--max-old-space-size=${megabytes}`];
  const child = startChild(ENTRY, { execArgv, signal, timeout: seconds * 1000 });
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
          `the preview exceeded ${seconds} s or ${megabytes} MB; preview a part of the file`,
        ),
      ),
    );
    child.send(order, () => undefined);
  });
}
