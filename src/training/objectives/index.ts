// The table of objectives.
import type { ObjectiveKind } from "./objective.ts";
import { sft } from "./sft.ts";

/** The objectives, by name. */
export const OBJECTIVES = { sft } satisfies Record<string, ObjectiveKind>;
/** Name of an objective. */
export type ObjectiveName = keyof typeof OBJECTIVES;
