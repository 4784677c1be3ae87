// MLflow's REST API. A run is found there by a tag of ours. Metrics that the server has of a step are not sent again, and those that
// it has with the same step, time and value it drops.

import { errorText } from "mixture-of-shards-core/common";
import { z } from "zod";
import { basicAuth, type TrackedRow, type TrackerKind } from "./tracker.ts";

const TAG = "mos.run";
/** What a request takes at most, and characters of a parameter and of a name. */
const [MAX_METRICS, MAX_PARAMS, MAX_VALUE, MAX_NAME] = [1000, 100, 500, 250];

/** A name that MLflow takes. */
const legal = (name: string): string => name.replaceAll(/[^\p{L}\p{N}_.\- ]/gu, "_").slice(0, MAX_NAME);

const experimentSchema = z.object({ experiment: z.object({ experiment_id: z.string() }) });
const runSchema = z.object({
  info: z.object({ run_id: z.string() }),
  data: z.object({
    metrics: z.array(z.object({ key: z.string(), step: z.coerce.number().default(0) })).default([]),
    params: z.array(z.unknown()).default([]),
  }),
});
const runsSchema = z.object({ runs: z.array(runSchema).default([]) });

const open: TrackerKind["open"] = async (ask, { project, tags = [] }, { id, name, startedAt, config }) => {
  const api = "/api/2.0/mlflow";
  const byName = `${api}/experiments/get-by-name?experiment_name=${encodeURIComponent(project)}`;
  const experiment = await ask(byName, experimentSchema).catch((error: unknown) => {
    if (!errorText(error).includes("RESOURCE_DOES_NOT_EXIST")) throw error;
  });
  const { experiment_id } =
    experiment?.experiment ??
    (await ask(`${api}/experiments/create`, experimentSchema.shape.experiment, { name: project }));
  const filter = { experiment_ids: [experiment_id], filter: `tags."${TAG}" = '${id}'`, max_results: 100 };
  const search = async () => (await ask(`${api}/runs/search`, runsSchema, filter)).runs;
  const runs = await search();
  const own = new Set(tags.map(legal).filter((key) => key !== TAG && !key.startsWith("mlflow.")));
  const named = [{ key: TAG, value: id }, ...[...own].map((key) => ({ key, value: "true" }))];
  // with a fraction of a millisecond, MLflow would forget the time and the tags
  const made = { experiment_id, run_name: name, start_time: Math.round(startedAt), tags: named };
  // the one with rows, if a request that was given up has made another
  const found = runs.find(({ data }) => data.metrics.length > 0) ?? runs[0];
  const { info, data } = found ?? (await ask(`${api}/runs/create`, z.object({ run: runSchema }), made)).run;
  const { run_id } = info;
  const log = async (what: "metrics" | "params", values: readonly object[], most: number): Promise<void> => {
    for (let at = 0; at < values.length; at += most)
      await ask(`${api}/runs/log-batch`, z.unknown(), { run_id, [what]: values.slice(at, at + most) });
  };
  const values = new Map(Object.entries(config).map(([key, value]) => [legal(key), String(value)]));
  const params = [...values].map(([key, value]) => ({ key, value: value.slice(0, MAX_VALUE) }));
  if (data.params.length === 0) await log("params", params, MAX_PARAMS); // they are never changed
  const stored = new Map(data.metrics.map(({ key, step }) => [key, step]));
  const toMetrics = ({ step, at: timestamp, scalars }: TrackedRow) =>
    Object.entries(scalars)
      .filter(([key]) => step > (stored.get(key) ?? -1))
      .map(([key, value]) => ({ key, value, timestamp, step }));
  return {
    send: (rows) => log("metrics", rows.flatMap(toMetrics), MAX_METRICS),
    finish: async (at) => {
      for (const { info: other } of await search())
        if (other.run_id !== run_id) await ask(`${api}/runs/delete`, z.unknown(), { run_id: other.run_id });
      await ask(`${api}/runs/update`, z.unknown(), { run_id, status: "FINISHED", end_time: at });
    },
  };
};

export const mlflow: TrackerKind = {
  variables: {
    url: "MLFLOW_TRACKING_URI",
    project: "MLFLOW_EXPERIMENT_NAME",
    key: "MLFLOW_TRACKING_TOKEN",
  },
  headers: (key, user) => (user === undefined ? { authorization: `Bearer ${key}` } : basicAuth(user, key)),
  open,
};
