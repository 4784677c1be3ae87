// Weights & Biases by the requests of its own client: one makes the run, the others write lines of its history, each at its place.
import { z } from "zod";
import { basicAuth, type TrackerKind } from "./tracker.ts";

const UPSERT = `mutation UpsertBucket($name: String, $project: String, $entity: String, $displayName: String, $config: JSONString, $tags: [String!]) {
  upsertBucket(input: {name: $name, modelName: $project, entityName: $entity, displayName: $displayName, config: $config, tags: $tags}) {
    bucket { name project { name entity { name } } }
  }
}`;
const named = z.object({ name: z.string() });
const bucket = named.extend({ project: named.extend({ entity: named }) });
const upsertSchema = z.object({ data: z.object({ upsertBucket: z.object({ bucket }) }) });

const open: TrackerKind["open"] = async (ask, { project, entity, tags }, { id, name, startedAt, config }) => {
  const values = Object.fromEntries(Object.entries(config).map(([key, value]) => [key, { value }]));
  const variables = { name: id, displayName: name, config: JSON.stringify(values), project, entity, tags };
  const { data } = await ask("/graphql", upsertSchema, { query: UPSERT, variables });
  const made = data.upsertBucket.bucket;
  const names = [made.project.entity.name, made.project.name, made.name];
  const stream = async (body: object): Promise<void> =>
    void (await ask(`/files/${names.map(encodeURIComponent).join("/")}/file_stream`, z.unknown(), body));
  let summary = {};
  return {
    send: async (rows) => {
      const lines = rows.map(({ index, step, at, scalars }) => {
        const time = { _timestamp: at / 1000, _runtime: (at - startedAt) / 1000 };
        return { ...scalars, "train/global_step": step, _step: index, ...time };
      });
      for (const line of lines) summary = { ...summary, ...line };
      const [offset, content] = [rows[0]?.index ?? 0, lines.map((line) => JSON.stringify(line))];
      const files = { "wandb-history.jsonl": { offset, content } };
      await stream({
        files: { ...files, "wandb-summary.json": { offset: 0, content: [JSON.stringify(summary)] } },
      });
    },
    finish: () => stream({ complete: true, exitcode: 0 }),
  };
};

export const wandb: TrackerKind = {
  variables: {
    url: "WANDB_BASE_URL",
    project: "WANDB_PROJECT",
    key: "WANDB_API_KEY",
    entity: "WANDB_ENTITY",
  },
  headers: (key) => basicAuth("api", key),
  open,
};
