// The table of objectives.
import { MosError } from "#common";
import type { FinetuneSettings } from "../settings.ts";
import { distill } from "./distill.ts";
import { dpo } from "./dpo.ts";
import { grpo } from "./grpo.ts";
import { kto } from "./kto.ts";
import { type Objective, type ObjectiveKind, sft } from "./objective.ts";
import { orpo } from "./orpo.ts";
import { sdft } from "./sdft.ts";
import {
  ANSWER_SETTINGS,
  type OBJECTIVE_NAMES,
  type ObjectiveSettings,
  objectiveSettings,
} from "./settings.ts";
import { simpo } from "./simpo.ts";

/** The objectives, by name. */
export const OBJECTIVES = { sft, dpo, kto, orpo, simpo, grpo, distill, sdft } satisfies Record<
  ObjectiveName,
  ObjectiveKind
>;
/** Name of an objective. */
export type ObjectiveName = (typeof OBJECTIVE_NAMES)[number];

/** True for runs that learn from their own answers. */
export const learnsFromAnswers = ({ objective }: Pick<FinetuneSettings, "objective">): boolean =>
  OBJECTIVES[objective].data === "prompts";

/** Settings of the chosen objective that were given. Throws `bad_option` for one of another objective. */
function givenSettings(settings: FinetuneSettings): Partial<ObjectiveSettings> {
  const { objective, evaluateBy } = settings;
  const { defaults } = OBJECTIVES[objective];
  const given = Object.entries(settings).filter(
    ([name, value]) => name in objectiveSettings && value !== undefined,
  );
  const isOfAnswers = (name: string): boolean => ANSWER_SETTINGS.some((one) => one === name);
  const others = given.filter(([name]) => !(name in defaults));
  const odd = others.find(([name]) => evaluateBy === undefined || !isOfAnswers(name))?.[0];
  if (odd === undefined) return Object.fromEntries(given.filter((one) => !others.includes(one)));
  const owners = Object.entries(OBJECTIVES).flatMap(([name, kind]) => (odd in kind.defaults ? [name] : []));
  throw new MosError(
    "bad_option",
    `${odd} is no setting of the objective ${objective}, but of ${owners.join(", ")}${isOfAnswers(odd) ? ", and of evaluateBy" : ""}; leave it out, or choose another objective`,
  );
}

/** What the settings of a run minimise. Throws `bad_option` for a setting that the objective does not have. */
export function chooseObjective(settings: FinetuneSettings): Objective {
  givenSettings(settings);
  return OBJECTIVES[settings.objective].create(settings);
}

/** The objective with its settings, defaults filled in, as a run records it; undefined for plain training without any. */
export function objectiveRecord(settings: FinetuneSettings): Readonly<Record<string, unknown>> | undefined {
  const { objective } = settings;
  // a run goes on with its teacher wherever that is
  const { teacher: _, ...chosen } = { ...OBJECTIVES[objective].defaults, ...givenSettings(settings) };
  return objective === "sft" ? undefined : { name: objective, ...chosen };
}
