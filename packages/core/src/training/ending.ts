// The end of a run that has nothing left to learn: decided after a pass over the data whose loss is low enough, and reached a
// few passes later, once its learning rate has fallen from where it stood to 0. A run that is merely cut off keeps the noise of
// a high rate.
import { z } from "zod";
import type { UnfinishedUpdate } from "./checkpoint.ts";
import type { ResolvedSettings } from "./settings.ts";

/** Updates of the fall of the learning rate, as a share of those before it. */
const FALL = 0.25;

/** Sums of the losses that the data have had in the pass at hand. */
export const passSums = z.strictObject({
  updates: z.int().positive(),
  loss: z.number(),
  count: z.number(),
});
type PassSums = Readonly<z.output<typeof passSums>>;

/** Where and why a run ends before its planned updates are made. */
export const runEnding = z.strictObject({
  /** The update after which that was decided. */
  decided: z.int().positive(),
  /** The last update. */
  step: z.int().positive(),
  /** The loss of the pass, in nats per target token. */
  loss: z.number(),
});
export type RunEnding = Readonly<z.output<typeof runEnding>>;

/** What a run knows of its end. */
export interface Ending {
  readonly pass?: PassSums | undefined;
  readonly ending?: RunEnding | undefined;
}

/** Settings by which a run ends early. @inline */
export type EndingSettings = Partial<Pick<ResolvedSettings, "epochs" | "targetLoss">> & {
  readonly steps: number;
};

/** The last update, as far as it is known. */
export const lastStep = ({ ending }: Ending, { steps }: EndingSettings): number => ending?.step ?? steps;

/** The factor on a learning rate that falls after the decision, before the update after `step`. */
export function fallAt(step: number, { ending }: Ending): number {
  if (ending === undefined) return 1;
  return (ending.step - step) / (ending.step - ending.decided);
}

/** What is known after update `step`. What is to stay as it was is no loss of the data. */
export function followLoss(
  { pass: before, ending }: Ending,
  { loss, count, metrics }: Pick<UnfinishedUpdate, "loss" | "count" | "metrics">,
  { step, epochs = 1, targetLoss = 0, steps }: EndingSettings & { readonly step: number },
): Ending {
  if (targetLoss === 0 || ending !== undefined) return { ending };
  const { sum: distance, count: anchored } = metrics["kept"] ?? { sum: 0, count: 0 };
  const pass = {
    updates: (before?.updates ?? 0) + 1,
    loss: (before?.loss ?? 0) + loss - distance,
    count: (before?.count ?? 0) + count - anchored,
  };
  if (pass.updates < Math.ceil(steps / epochs)) return { pass };
  const mean = pass.loss / pass.count;
  const end = step + Math.ceil(FALL * step);
  if (!(mean < targetLoss) || end >= steps) return {};
  return { ending: { decided: step, step: end, loss: mean } };
}
