// Fine-tuning jobs as training runs, beside the run folders of the server that shows them.
import { type AdapterConfigInput, budget, finetuneSettings, MosError } from "mixture-of-shards";
import type { ServerExtension } from "mixture-of-shards/server";
import { fittingConfig } from "mixture-of-shards-core/adapters";
import { attempt, parseSettings } from "mixture-of-shards-core/common";
import { hasEnded, type JobRow, type JobStore, MEASUREMENTS } from "#store";
import { seconds, secondsOrNull, toOwner, withHttpErrors } from "./routes.ts";

type Shapes = Parameters<typeof budget>[1];
type RunSource = NonNullable<ServerExtension["runs"]>;
type RunEntry = Awaited<ReturnType<RunSource["list"]>>[number];
type Planned = Pick<RunEntry["facts"], "method" | "trainable_parameters"> & Pick<RunEntry, "settings">;

/** Jobs whose settings are kept: to read them costs more than all the rest. */
const MAX_PLANNED = 5000;

/** What another version has planned may be none here. */
function orElse<T>(otherwise: T, work: () => T): T {
  const made = attempt(work);
  return made instanceof MosError ? otherwise : made;
}

/** The settings of a job with all defaults. A job that starts from an adapter has that one's, which are not in the plan. */
function readPlan({ plan, chosen, initial }: JobRow, shapes: Shapes): Planned {
  const settings = orElse(plan.settings, () => parseSettings(finetuneSettings, plan.settings));
  const given = plan.adapter as unknown as AdapterConfigInput; // which the trainer checks
  const adapter = initial === null ? orElse(undefined, () => fittingConfig(given, shapes)) : undefined;
  return {
    method: adapter?.method ?? null,
    settings: [{ ...adapter }, settings, chosen ?? {}],
    trainable_parameters:
      adapter === undefined ? null : orElse(null, () => budget(adapter, shapes).trainable),
  };
}

/** The jobs of a key's tenant as runs. */
export function jobRuns(jobs: JobStore, shapes: Shapes): RunSource {
  const planned = new Map<string, Planned>();
  const planOf = (job: JobRow): Planned => {
    const key = `${job.id} ${job.chosen === null}`;
    const known = planned.get(key);
    if (known !== undefined) return known;
    if (planned.size >= MAX_PLANNED) planned.clear();
    const plan = readPlan(job, shapes);
    planned.set(key, plan);
    return plan;
  };
  async function* read(id: string, from: number): ReturnType<RunEntry["read"]> & AsyncGenerator {
    for (let position = from; ; ) {
      const rows = await withHttpErrors(jobs.measurements(id, position));
      const last = rows.at(-1);
      if (last === undefined) return;
      position = last.number;
      yield { measurements: rows.map(({ data }) => data), position };
      if (rows.length < MEASUREMENTS) return;
    }
  }
  const toEntry = (job: JobRow, outcome: RunEntry["facts"]["outcome"] = null): RunEntry => {
    const { settings, ...planned } = planOf(job);
    return {
      settings,
      facts: {
        ...{ id: job.id, object: "run", kind: "job", name: nameOf(job), status: job.status },
        created_at: seconds(job.created_at),
        finished_at: secondsOrNull(job.finished_at),
        ...{ model: job.model, tenant: job.tenant, step: job.step, total_steps: job.steps },
        ...planned,
        fine_tuned_model: job.fine_tuned_model,
        error: job.error?.message ?? null,
        outcome,
      },
      createdAt: job.created_at.getTime(),
      series: "",
      version: hasEnded(job) ? "ended" : undefined,
      read: (position) => read(job.id, position),
    };
  };
  return {
    list: async (key, page) =>
      (await withHttpErrors(jobs.newest(toOwner(key), page))).map((job) => toEntry(job)),
    find: async (key, id) => {
      const job = await withHttpErrors(jobs.find(toOwner(key), id)).catch((error: unknown) => {
        if (error instanceof MosError && error.code === "not_found") return undefined;
        throw error;
      });
      return job && toEntry(job, await withHttpErrors(jobs.outcome(job)));
    },
  };
}

/** What its owner called it. */
const nameOf = ({ id, request, metadata }: JobRow): string =>
  typeof request["suffix"] === "string" ? request["suffix"] : (metadata?.["name"] ?? id);
