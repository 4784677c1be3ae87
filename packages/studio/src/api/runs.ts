import type { components } from "./schema.d.ts";

/** A training run. */
export type Run = components["schemas"]["Run"];
/** What a run measured. */
export type RunMetrics = components["schemas"]["RunMetrics"];

const ENDED: ReadonlySet<Run["status"]> = new Set(["succeeded", "failed", "cancelled"]);

/** Whether nothing more comes of a run. An interrupted one may be resumed by `mos train`. */
export const hasEnded = ({ status }: Pick<Run, "status">): boolean => ENDED.has(status);
