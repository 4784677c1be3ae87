// Server extension of a service: routes, and the models of tenants.
import { randomInt } from "node:crypto";
import { MosError, type runCheck, usualLearningRate } from "mixture-of-shards";
import type { OpenServeAddOn } from "mixture-of-shards/kit";
import type { ApiKey, ServerExtension } from "mixture-of-shards/server";
import { attempt } from "mixture-of-shards-core/common";
import { addServiceRoutes, jobRuns, type ServiceEnv, seconds, withHttpErrors } from "#api";
import { isFineTuned, MAX_ALIASES, type ModelStore, modelTenant, type Stores } from "#store";
import type { Publisher } from "./publish.ts";

/** Bytes of an uploaded file, as OpenAI's. */
const MAX_FILE_BYTES = 512_000_000;

/** Expiry times of models, read in advance: models expire on time even while the database cannot be reached. */
export function openExpired(models: Pick<ModelStore, "secondsLeft">) {
  /** When they expire, by a clock of this process. */
  let ends = new Map<string, number>();
  return {
    /** Asks the database, by whose clock models expire. */
    refresh: async (): Promise<void> => {
      const now = performance.now();
      const left = await models.secondsLeft();
      ends = new Map([...left].map(([model, seconds]) => [model, now + seconds * 1000]));
    },
    isOver: (model: string): boolean => (ends.get(model) ?? Number.POSITIVE_INFINITY) <= performance.now(),
    /** An alias stands for this model, so that it does not expire now. */
    hold: (model: string): void => void ends.delete(model),
  };
}

interface ExtensionParts {
  readonly model: Parameters<OpenServeAddOn["start"]>[0];
  /** Throws for a run that the model cannot have, whatever its data are. */
  readonly checkRun: Awaited<ReturnType<typeof runCheck>>;
  readonly publisher: Pick<Publisher, "fetch" | "use">;
  /** Removes a deleted model from all folders. */
  readonly unpublish: (name: string) => Promise<void>;
  readonly expired: ReturnType<typeof openExpired>;
  readonly service: Pick<
    ServiceEnv,
    keyof Stores | "objects" | "preview" | "checkFile" | "grading" | "webhookPorts" | "trackers"
  >;
}

/** A fine-tuned model is its tenant's, whatever adapters a key may use beside it. */
export function createExtension({
  model,
  checkRun,
  publisher,
  unpublish,
  expired,
  service,
}: ExtensionParts): ServerExtension & Required<Pick<ServerExtension, "metrics">> {
  const { aliases, usage } = service;
  return {
    routes: (app) =>
      addServiceRoutes(app, {
        ...service,
        modelName: model.name,
        learningRate: usualLearningRate(model.hiddenSize),
        checkPlan: (plan) => {
          const cause = attempt(() => checkRun(plan));
          if (cause instanceof MosError) throw new MosError("bad_option", cause.message, { cause });
        },
        publish: publisher.fetch,
        unpublish,
        checkExpiry: () => expired.refresh(),
        maxFileBytes: MAX_FILE_BYTES,
        nextSeed: () => randomInt(2 ** 31),
      }),
    jobTenant: service.jobKeys.tenant,
    responses: service.responses.within,
    runs: jobRuns(service.jobs, model.shapes),
    models: {
      access: (name, key) => {
        const tenant = modelTenant(name);
        if (tenant === undefined) return undefined;
        if (expired.isOver(name)) return "none";
        if (tenant === key.name) return "own";
        return key.isAdmin ? "use" : "none";
      },
      use: publisher.use,
      fetch: (name) => withHttpErrors(publisher.fetch(name), "model"),
      resolve: async (id, { name: tenant }) => {
        const target = await withHttpErrors(aliases.target({ tenant, id }), "model");
        if (target !== undefined) expired.hold(target);
        return target;
      },
      describe: (key) => readNotes(service, { key, base: model.name }),
    },
    metrics: {
      ended: (record, seconds) => {
        const { keyName: tenant, model: name, status, ...tokens } = record;
        if (tenant === undefined || name === undefined || (status >= 400 && tokens.completionTokens === 0))
          return;
        usage.add({
          tenant,
          model: name,
          requests: 1,
          serving_seconds: seconds,
          prompt_tokens: tokens.promptTokens,
          cached_tokens: tokens.cachedTokens,
          completion_tokens: tokens.completionTokens,
        });
      },
    },
  };
}

/** Without the database aliases cannot be used, so that lists go on without them. */
async function readNotes(
  { aliases, models }: Pick<Stores, "aliases" | "models">,
  { key: { name: tenant, isAdmin }, base }: { readonly key: ApiKey; readonly base: string },
) {
  try {
    const { rows } = await aliases.list(tenant, { limit: MAX_ALIASES });
    const owned = await models.list({ tenant, isAdmin });
    const own = owned.filter(({ name }) => isFineTuned(name, base));
    return {
      aliases: rows.map(({ id, model, changed_at }) => ({ id, model, changedAt: seconds(changed_at) })),
      models: new Map(
        own.map(({ name, created_at: created, expires_at: end }) => [
          name,
          { changedAt: seconds(created), expiresAt: end === null ? undefined : seconds(end) },
        ]),
      ),
    };
  } catch (error) {
    if (!(error instanceof MosError) || error.code !== "network") throw error;
    return { aliases: [], models: new Map() };
  }
}
