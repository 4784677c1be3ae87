// Settings of objectives. None has a default here: each objective has its own, so that a setting that is given to an
// objective without it is noticed.
import type { SettingValues } from "#core";

/** Settings of all objectives; `objective` chooses which of them there are. */
export const objectiveSettings = {};
/** Their values; undefined where they are left out. */
export type ObjectiveSettings = SettingValues<typeof objectiveSettings>;
