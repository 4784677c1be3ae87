// What is in an adapter: its layers as a picture, and its files for other programs.
import { z } from "@hono/zod-openapi";
import { EXPORT_FILES } from "../adapter-tasks.ts";
import { seesAll } from "../auth.ts";
import type { RequestContext } from "../context.ts";
import { findAdapter } from "../engine-requests.ts";
import { ApiError, invalidValue, needsAdmin, unknownModel } from "../errors.ts";
import { optional } from "../request.ts";
import { route } from "../route.ts";

const params = z.object({ name: z.string().max(256).describe("Name of the adapter.") });

const rows = z.array(z.int()).nullable();
const layersSchema = z
  .object({
    object: z.literal("adapter.layers"),
    id: z.string(),
    digest: z.string(),
    method: z.string(),
    rank: z.int(),
    equivalent_rank: z.int().nullable(),
    private_rank: z.int().nullable(),
    shards_per_vector: z.int().nullable(),
    layers: z.int(),
    targets: z.array(z.string()),
    pools: z
      .array(
        z.object({
          target: z.string(),
          in: z
            .int()
            .describe(
              "Inputs and outputs of the linear layers: those of other widths have pools of their own.",
            ),
          out: z.int(),
          layers: z.array(z.int()).describe("The layers that use the pool."),
          side: z.enum(["A", "B", "A and B"]),
          unit: z.enum(["shard", "pair"]),
          shared: z.int().describe("Rows that all layers share; they come first."),
          private: z.int().describe("Rows after them that belong to one layer each."),
        }),
      )
      .describe("Empty for methods whose layers choose no parts of a pool."),
    modules: z.array(
      z.object({
        layer: z.int(),
        target: z.string(),
        rows_a: rows.describe(
          "Rows of the pool that make A: rank j is joined of shards_per_vector rows from entry j × shards_per_vector on.",
        ),
        rows_b: rows,
        norm_a: z.number().describe("Frobenius norms of A, B and scale · B A."),
        norm_b: z.number(),
        norm_update: z.number(),
        stable_rank: z
          .number()
          .describe("How many directions count, from 1 to the rank; 0 without an update."),
      }),
    ),
    is_cut: z.boolean().describe("There are too many rows to list: rows_a and rows_b are null."),
  })
  .openapi("AdapterLayers");

const exportSchema = z
  .object({
    object: z.literal("adapter.export"),
    id: z.string(),
    digest: z.string(),
    format: z.enum(["mos", "peft", "gguf"]),
    files: z.array(z.object({ name: z.string() })),
  })
  .openapi("AdapterExport");

const exportQuery = z.object({
  format: z
    .enum(["mos", "peft", "gguf"])
    .describe("mos: the adapter's own files; peft and gguf: a plain LoRA for PEFT and vLLM, or llama.cpp."),
  file: optional(z.string().max(64), "Download this file in place of the list of files."),
});

/** @throws ApiError 404 for an adapter that is not there or that the key may not use, 400 without a folder of adapters. */
async function openAdapter({ server, key }: RequestContext["var"], name: string) {
  const info = await findAdapter(server, { name, key });
  if (info === undefined) throw unknownModel(name, { what: "adapter", param: "name" });
  const path = await server.store.locate(name);
  const { adapterTasks: tasks } = server;
  if (tasks !== undefined) return { info, path, tasks };
  throw new ApiError("this server does not know its model's files, which this needs; pass modelPath", {
    status: 400,
    code: "no_model_files",
  });
}

export const adapterContentRoutes = [
  route({
    method: "get",
    path: "/v1/adapters/{name}/layers",
    summary: "Describe the layers of an adapter: rows of the pools, and norms",
    params,
    ok: [layersSchema, "The layers, by target and then by layer."],
    answer: async ({ params: { name }, context }) => {
      const { info, path, tasks } = await openAdapter(context.var, name);
      const { signal } = context.req.raw;
      const { config, pools, modules, ...found } = await tasks.layers(info.digest, { path, signal });
      return {
        object: "adapter.layers" as const,
        id: info.name,
        digest: info.digest,
        method: config.method,
        rank: config.rank,
        equivalent_rank: "equivalentRank" in config ? config.equivalentRank : null,
        private_rank: "privateRank" in config ? config.privateRank : null,
        shards_per_vector: "shardsPerVector" in config ? config.shardsPerVector : null,
        layers: found.layers,
        targets: [...config.targets],
        pools: pools.map(({ linear, layers, ...pool }) => ({ target: linear, layers: [...layers], ...pool })),
        modules: modules.map((module) => ({
          layer: module.layer,
          target: module.linear,
          rows_a: module.rowsA === undefined ? null : [...module.rowsA],
          rows_b: module.rowsB === undefined ? null : [...module.rowsB],
          norm_a: module.a,
          norm_b: module.b,
          norm_update: module.update,
          stable_rank: module.stableRank,
        })),
        is_cut: found.isCut,
      };
    },
  }),
  route({
    method: "get",
    path: "/v1/adapters/{name}/export",
    summary: "List the files of an adapter in another format, or download one",
    description: "Administrators, owners of fine-tuned models, and everybody where there are no keys.",
    params,
    query: exportQuery,
    ok: [exportSchema, "The list, or with file the content of one. Its ETag is the digest of the adapter."],
    also: { "application/octet-stream": z.string().openapi({ format: "binary" }) },
    answer: async ({ params: { name }, query: { format, file }, server, key, context }) => {
      const { info, path, tasks } = await openAdapter(context.var, name);
      // whoever may use an adapter may not take its weights
      if (!seesAll(server, key) && server.extension?.models?.access(name, key) !== "own")
        throw needsAdmin("this key may use the adapter, but not download it; use an admin key");
      const names: readonly string[] = EXPORT_FILES[format];
      if (file === undefined) {
        const files = names.map((each) => ({ name: each }));
        return { object: "adapter.export" as const, id: name, digest: info.digest, format, files };
      }
      if (!names.includes(file))
        throw invalidValue(`file: ${format} has ${names.join(" and ")}; choose one of them`, "file");
      const { signal } = context.req.raw;
      const { digest, bytes, body } = await tasks.export({ format, file }, { path, signal });
      return context.body(body, 200, {
        "content-type": "application/octet-stream",
        "content-length": String(bytes),
        "content-disposition": `attachment; filename="${file}"`,
        "cache-control": "no-store",
        etag: `"${digest}"`,
      });
    },
  }),
];
