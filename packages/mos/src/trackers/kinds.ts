// The trackers by their names, and what the environment says of one.
import { MosError, omitUndefined } from "mixture-of-shards-core/common";
import { mlflow } from "./mlflow.ts";
import type { TrackerKind, TrackerName, TrackOptions } from "./tracker.ts";
import { trackio } from "./trackio.ts";
import { wandb } from "./wandb.ts";

export const TRACKERS: Readonly<Record<TrackerName, TrackerKind>> = { mlflow, wandb, trackio };

/** An address that fetch takes: those with a password it refuses. */
const isAddress = (url: string): boolean => /^https?:\/\/[^\s@?#]+$/.test(url) && URL.canParse(url);

/**
 * Completes what is known of a tracker by the variables that its own client reads.
 *
 * @throws MosError `bad_option` where its address is not known or is none, or the key of Weights & Biases.
 */
export function completeTracking(
  given: Partial<TrackOptions> & Pick<TrackOptions, "to">,
  environment: Readonly<Record<string, string | undefined>>,
): TrackOptions {
  const { to } = given;
  const { variables } = TRACKERS[to];
  const read = (name: string | undefined): string | undefined =>
    (name && environment[name]?.trim()) || undefined;
  const isHosted = to === "wandb";
  const url = given.url ?? read(variables.url) ?? (isHosted ? "https://api.wandb.ai" : undefined);
  if (url === undefined)
    throw new MosError(
      "bad_option",
      `the address of ${to} is not known; set ${variables.url}, or --track-url of mos train`,
    );
  if (!isAddress(url))
    throw new MosError(
      "bad_option",
      `the address of ${to} must be an http or https URL without a password; set ${variables.url}, or --track-url`,
    );
  const user = to === "mlflow" ? read("MLFLOW_TRACKING_USERNAME") : undefined;
  const key = read(user === undefined ? variables.key : "MLFLOW_TRACKING_PASSWORD");
  if (isHosted && key === undefined)
    throw new MosError(
      "bad_option",
      `${variables.key} is not set; it must hold your key of Weights & Biases`,
    );
  const project = given.project ?? read(variables.project) ?? "mos";
  return {
    ...given,
    url: url.replace(/\/{1,9}$/, ""),
    project,
    ...omitUndefined({ key, user, entity: given.entity ?? read(variables.entity) }),
  };
}
