import { z } from "zod";
import { LINEAR_NAMES, type LinearName } from "#nn";

/** Fields that every method has, with their defaults. */
export const commonFields = {
  rank: z.int().min(1).max(4096).default(8),
  alpha: z.number().positive().max(1e6).default(16),
  dropout: z.number().min(0).lt(1).default(0),
  targets: z
    .array(z.enum(LINEAR_NAMES))
    .min(1)
    .default([...LINEAR_NAMES])
    .transform((names): readonly LinearName[] => LINEAR_NAMES.filter((name) => names.includes(name))),
  seed: z.int().min(0).default(0),
};
