// The table of objectives.
import { grpo } from "./grpo.ts";
import { kto } from "./kto.ts";
import type { ObjectiveKind } from "./objective.ts";
import { orpo } from "./orpo.ts";
import { sft } from "./sft.ts";
import { simpo } from "./simpo.ts";

/** The objectives, by name. */
export const OBJECTIVES = { sft, kto, orpo, simpo, grpo } satisfies Record<string, ObjectiveKind>;
/** Name of an objective. */
export type ObjectiveName = keyof typeof OBJECTIVES;
