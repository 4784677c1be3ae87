// From the rewards of answers to what their tokens count in the loss.

/** What the rewards of a group, less their mean, are divided by: their standard deviation, that of the whole batch, or 1. */
export const REWARD_SCALES = ["group", "batch", "none"] as const;
/** One of these. */
export type RewardScale = (typeof REWARD_SCALES)[number];

/** Rewards of the answers to one prompt; NaN for those that could not be graded. */
type Rewards = readonly number[];

/** Keeps a group whose rewards hardly differ from being blown up. */
const EPSILON = 1e-4;

const graded = (rewards: Rewards): Rewards => rewards.filter((reward) => !Number.isNaN(reward));

/** NaN for none. */
export const mean = (numbers: Rewards): number => numbers.reduce((sum, x) => sum + x, 0) / numbers.length;

/** The standard deviation of rewards, as of a sample; 0 where fewer than two answers were graded. */
export function deviation(rewards: Rewards): number {
  const known = graded(rewards);
  if (known.length < 2) return 0;
  const middle = mean(known);
  // equal rewards have a mean that may be rounded
  if (known.every((reward) => reward === known[0])) return 0;
  return Math.sqrt(known.reduce((sum, reward) => sum + (reward - middle) ** 2, 0) / (known.length - 1));
}

/** The advantage of each answer over the others of its group, 0 where it could not be graded. */
export function advantages(groups: readonly Rewards[], scale: RewardScale): readonly Rewards[] {
  const whole = scale === "batch" ? deviation(groups.flat()) : 0;
  return groups.map((rewards) => {
    const middle = mean(graded(rewards));
    const own = deviation(rewards);
    const divisor = scale === "none" ? 1 : (scale === "group" ? own : whole) + EPSILON;
    return rewards.map((reward) => (Number.isNaN(reward) || own === 0 ? 0 : (reward - middle) / divisor));
  });
}
