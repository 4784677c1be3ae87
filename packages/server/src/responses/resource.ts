// The response as an object: what the Responses API and Open Responses require of it.
import { z } from "@hono/zod-openapi";
import type { OutputItem } from "./output.ts";
import type { ResponseRequest } from "./request.ts";
import type { ResponseTools } from "./tools.ts";

const tokens = z.int().min(0);

const usage = z.object({
  input_tokens: tokens,
  input_tokens_details: z.object({ cached_tokens: tokens }),
  output_tokens: tokens,
  output_tokens_details: z.object({ reasoning_tokens: tokens }),
  total_tokens: tokens,
});

export type ResponseUsage = z.output<typeof usage>;

const outputItem = z.looseObject({
  type: z.enum(["message", "reasoning", "function_call", "custom_tool_call"]),
  id: z.string(),
  status: z.enum(["in_progress", "completed", "incomplete"]),
});

export const responseResource = z
  .looseObject({
    id: z.string(),
    object: z.literal("response"),
    created_at: z.int(),
    completed_at: z.int().nullable(),
    status: z.enum(["in_progress", "completed", "incomplete", "failed"]),
    incomplete_details: z.object({ reason: z.literal("max_output_tokens") }).nullable(),
    error: z.object({ code: z.string(), message: z.string() }).nullable(),
    model: z.string(),
    previous_response_id: z.string().nullable(),
    instructions: z.string().nullable(),
    output: z.array(outputItem),
    usage: usage.nullable(),
  })
  .openapi("Response");

export const responseEvent = z
  .looseObject({ type: z.string(), sequence_number: z.int() })
  .openapi("ResponseEvent");

/** What the writer of a response adds to its request. */
export interface Written {
  readonly id: string;
  /** Seconds since 1970. */
  readonly created_at: number;
  readonly completed_at?: number;
  readonly status: "in_progress" | "completed" | "incomplete" | "failed";
  readonly error?: { readonly code: string; readonly message: string };
  readonly model: string;
  readonly output: readonly OutputItem[];
  readonly tools: ResponseTools["shown"];
  /** Sampling as it is, defaults filled in. */
  readonly temperature: number;
  readonly top_p: number;
  readonly store: boolean;
  readonly usage?: ResponseUsage;
}

/** The response as JSON, at any state of it. */
export const toResource = (request: ResponseRequest, { tools, ...written }: Written) =>
  ({
    ...UNSET,
    ...pickShown(request),
    object: "response",
    completed_at: null,
    incomplete_details: written.status === "incomplete" ? { reason: "max_output_tokens" } : null,
    error: null,
    usage: null,
    tools: tools.map(withDefaults),
    text: { verbosity: "medium", ...request.text, format: withFormatDefaults(request.text?.format) },
    reasoning: { effort: null, summary: null, ...request.reasoning },
    ...written,
  }) as const;

/** Members of the object that say what was asked for, with their values where nothing was. */
const UNSET = {
  previous_response_id: null,
  instructions: null,
  tool_choice: "auto",
  parallel_tool_calls: true,
  max_tool_calls: null,
  presence_penalty: 0,
  frequency_penalty: 0,
  top_logprobs: 0,
  max_output_tokens: null,
  truncation: "disabled",
  background: false,
  service_tier: "default",
  metadata: {},
  safety_identifier: null,
  prompt_cache_key: null,
  user: null,
} as const;

const pickShown = (request: ResponseRequest): Partial<typeof UNSET> =>
  Object.fromEntries(Object.entries(request).filter(([field]) => field in UNSET));

/** Members that clients expect of a function, though a request may leave them out. */
const withDefaults = (tool: ResponseTools["shown"][number]) =>
  tool.type === "function" ? { description: null, parameters: null, strict: null, ...tool } : tool;

const withFormatDefaults = (
  format: NonNullable<ResponseRequest["text"]>["format"] = { type: "text" },
): object => (format.type === "json_schema" ? { description: null, strict: null, ...format } : format);
