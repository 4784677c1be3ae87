// GET /v1/usage: what tenants have trained and requested, in the shape of OpenAI's usage of an organization.
import { z } from "@hono/zod-openapi";
import { optional, wholeNumber } from "mixture-of-shards/server";
import type { UsageRow } from "#store";
import { type AddRoutes, addRoute, invalid } from "./routes.ts";

/** Seconds of a bucket, and how many buckets a page has. */
const WIDTHS = {
  "1h": { width: 3600, standard: 24, most: 168 },
  "1d": { width: 86_400, standard: 7, most: 31 },
} as const;

/** Until the year 2100. */
const time = wholeNumber(0, 4_102_444_800);

const resultSchema = z
  .object({
    object: z.literal("usage.result"),
    api_key_id: z.string().describe("Name of the key, which is the tenant."),
    model: z.string().nullable(),
    num_model_requests: z.int(),
    input_tokens: z.int(),
    input_cached_tokens: z.int(),
    output_tokens: z.int(),
    serving_seconds: z.number().describe("Total time from arrival to end of the requests."),
    trained_tokens: z.int(),
    training_seconds: z.number(),
  })
  .openapi("UsageResult");

const usageSchema = z.object({
  object: z.literal("page"),
  data: z.array(
    z.object({
      object: z.literal("bucket"),
      start_time: z.int(),
      end_time: z.int(),
      results: z.array(resultSchema),
    }),
  ),
  has_more: z.boolean(),
  next_page: z.string().nullable(),
});

const toUsageObject = ({ start: _, tenant, requests, ...row }: UsageRow): z.output<typeof resultSchema> => {
  const { prompt_tokens, cached_tokens, completion_tokens, ...others } = row;
  const input = { input_tokens: prompt_tokens, input_cached_tokens: cached_tokens };
  const counts = { num_model_requests: requests, ...input, output_tokens: completion_tokens };
  return { object: "usage.result", api_key_id: tenant, ...counts, ...others };
};

export const usageRoutes: AddRoutes = (app, { usage }) => {
  addRoute(app, {
    method: "get",
    path: "/v1/usage",
    summary: "Report usage per UTC hour or day; administrators see all tenants",
    query: z.object({
      start_time: optional(
        time,
        "Unix time in seconds, rounded down to a bucket. Default: the latest buckets.",
      ),
      end_time: optional(time, "Exclusive end, Unix time in seconds."),
      bucket_width: z.enum(["1h", "1d"]).default("1d"),
      group_by: z.enum(["model"]).optional(),
      api_key_id: optional(z.string().max(64), "Restrict to the key of this name."),
      limit: wholeNumber(1, WIDTHS["1h"].most).optional(),
      page: optional(time, "next_page of the previous page."),
    }),
    ok: [usageSchema, "A page of buckets, oldest first."],
    answer: async ({ query, owner }) => {
      const { width, standard, most } = WIDTHS[query.bucket_width];
      const { start_time, end_time: end, page, limit = standard, api_key_id: tenant } = query;
      if (limit > most)
        throw invalid(`limit must be at most ${most} for bucket_width ${query.bucket_width}`, "limit");
      if (start_time !== undefined && end !== undefined && end <= start_time)
        throw invalid("end_time must be after start_time", "end_time");
      const range = { width, limit, start: page ?? start_time, end };
      const byModel = query.group_by === "model";
      const { starts, rows, next } = await usage.read(owner, { ...range, tenant, byModel });
      const data = starts.map((start) => ({
        object: "bucket" as const,
        start_time: start,
        end_time: start + width,
        results: rows.filter((row) => row.start === start).map(toUsageObject),
      }));
      const more = { has_more: next !== undefined, next_page: next?.toString() ?? null };
      return { object: "page" as const, data, ...more };
    },
  });
};
