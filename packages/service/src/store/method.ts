// The methods of OpenAI's jobs: their hyperparameters, and what these are among the settings of a run.
import { z } from "@hono/zod-openapi";
import type { FinetuneSettingsInput } from "mixture-of-shards";
import { OBJECTIVES, omitUndefined } from "mixture-of-shards/cli";

const autoOr = <T extends z.ZodType>(type: T) => z.union([z.literal("auto"), type]).optional();

const shared = {
  batch_size: autoOr(z.int().min(1).max(256)),
  n_epochs: autoOr(z.number().gt(0).max(50)),
  learning_rate_multiplier: autoOr(z.number().gt(0).max(1000)),
};
const dpo = { ...shared, beta: autoOr(z.number().gt(0).max(2)) };

/** The hyperparameters of each method. */
const HYPERPARAMETERS = { supervised: shared, dpo };
type Hyperparameters = Readonly<Record<string, unknown>>;

const hyperparametersOf = <T extends z.ZodRawShape>(fields: T) => ({
  hyperparameters: z.strictObject(fields).nullish(),
});

const METHODS = ["supervised", "dpo"] as const;

/** Hyperparameters of a job without a method, which is a supervised one. */
export const hyperparametersSchema = z.strictObject(shared);

/** `method` of a request. */
export const methodSchema = z
  .strictObject({
    type: z.enum(METHODS, { error: "supervised or dpo" }),
    supervised: z.strictObject(hyperparametersOf(shared)).nullish(),
    dpo: z.strictObject(hyperparametersOf(dpo)).nullish(),
  })
  .superRefine((method, context) => {
    for (const name of METHODS)
      if (name !== method.type && method[name] != null)
        context.addIssue({ code: "custom", path: [name], message: `no value, since type is ${method.type}` });
  });

/** What a request says of its method. */
interface MethodFields {
  readonly method?: z.output<typeof methodSchema> | null | undefined;
  readonly hyperparameters?: z.output<typeof hyperparametersSchema> | null | undefined;
}

/** The method of a request and all of its hyperparameters: "auto" where they were left to us. */
export function methodOf({ method, hyperparameters: plain }: MethodFields): {
  readonly type: (typeof METHODS)[number];
  readonly hyperparameters: Hyperparameters;
} {
  const type = method?.type ?? "supervised";
  const given: Hyperparameters = method?.[type]?.hyperparameters ?? plain ?? {};
  const names = Object.keys(HYPERPARAMETERS[type]);
  return {
    type,
    hyperparameters: Object.fromEntries(names.map((name) => [name, given[name] ?? "auto"])),
  };
}

/** The settings of a run by its request's method. Without one its objective is `own`. */
export function methodSettings(
  request: MethodFields,
  { own, learningRate }: { readonly own: FinetuneSettingsInput["objective"]; readonly learningRate: number },
): FinetuneSettingsInput {
  const { type, hyperparameters } = methodOf(request);
  const number = (name: string): number | undefined => {
    const value = hyperparameters[name];
    return typeof value === "number" ? value : undefined;
  };
  const objective = type === "dpo" ? type : own;
  const usual = learningRate * OBJECTIVES[objective ?? "sft"].learningRate;
  return omitUndefined({
    objective,
    beta: number("beta"),
    batchSize: number("batch_size"),
    epochs: number("n_epochs"),
    // kept with the job, so that another default later does not change it
    learningRate: usual * (number("learning_rate_multiplier") ?? 1),
  });
}
