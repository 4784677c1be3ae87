// A request of the Responses API, with the conversation that it continues, which a stored response may end; and the response to it.
import { z } from "@hono/zod-openapi";
import { type ChatMessage, jsonSchemaFields, writeCall } from "mixture-of-shards-core/text";
import { clientFields, metadata, samplingFields } from "../engine-requests.ts";
import { ApiError, invalidValue, notFound } from "../errors.ts";
import { neutral, nullOnly, optional, unused } from "../request.ts";
import { type ConversationItem, inputItem, isReference, toMessages } from "./items.ts";
import type { ResponseStore, StoredResponse } from "./store.ts";
import { type ResponseTools, toolFields } from "./tools.ts";

const { model, temperature, top_p, seed, stream, top_k, min_p, repetition_penalty } = samplingFields;

const textFormat = z.discriminatedUnion("type", [
  z.looseObject({ type: z.literal("text") }),
  z.looseObject({ type: z.literal("json_object") }),
  z.strictObject({ type: z.literal("json_schema"), ...jsonSchemaFields }),
]);

export const responseRequest = z
  .strictObject({
    model,
    input: optional(
      z.union([z.string(), z.array(inputItem).max(4096)]),
      "A user's text, or items of a conversation.",
    ),
    instructions: optional(
      z.string(),
      "A system message before the conversation, which previous_response_id does not carry over.",
    ),
    previous_response_id: optional(
      z.string().max(200),
      "A stored response, whose conversation this request continues.",
    ),
    store: optional(
      z.boolean(),
      "Whether the response is stored, so that later requests may refer to it. Default: true.",
    ),
    stream,
    stream_options: z.strictObject({ include_obfuscation: z.boolean().optional() }).optional(),
    ...toolFields,
    ...clientFields,
    text: optional(
      z.strictObject({ format: textFormat.optional(), verbosity: unused(z.string().max(100)) }),
      "Form of the text: any, a JSON object, or JSON of a schema.",
    ),
    max_output_tokens: optional(z.int().min(1), "Default: the server's, else the rest of the context."),
    temperature,
    top_p,
    top_k,
    min_p,
    repetition_penalty,
    seed,
    top_logprobs: z.int().min(0).max(20).optional(),
    include: optional(
      z.array(z.string().max(100)).max(20),
      "message.output_text.logprobs adds log-probabilities; other values are ignored.",
    ),
    metadata: metadata.optional(),
    reasoning: unused(z.looseObject({})),
    truncation: optional(z.literal("disabled"), "Only disabled: a conversation that is too long is refused."),
    user: unused(z.string().max(1000)),
    client_metadata: unused(z.looseObject({})),
    max_tool_calls: unused(z.int().min(0)),
    presence_penalty: samplingFields.presence_penalty,
    frequency_penalty: samplingFields.frequency_penalty,
    background: neutral(z.literal(false)),
    conversation: neutral(nullOnly),
    prompt: neutral(nullOnly),
    context_management: neutral(nullOnly),
  })
  .openapi("ResponseRequest");

export type ResponseRequest = z.output<typeof responseRequest>;

/** Responses in a row that one may continue. */
const MAX_CHAIN = 1000;

interface ReadInputOptions {
  /** Undefined where nothing is stored. */
  readonly store: ResponseStore | undefined;
  readonly tenant: string;
  readonly nextId: (prefix: "msg" | "item") => string;
}

/** @throws ApiError 400 where a request refers to what is stored, and this server stores nothing. */
function neededStore(store: ResponseStore | undefined, param: string): ResponseStore {
  if (store !== undefined) return store;
  throw invalidValue(
    `${param} refers to a stored response, and this server stores none; start it with --response-bytes above 0, or send the whole conversation as input`,
    param,
  );
}

/**
 * The items of a request's conversation: its `own`, each with an id, in which references are replaced by what they stand for, and
 * `all`, with those of earlier responses before them.
 *
 * @throws ApiError 404 for a response that is not stored, or is another key's; 400 for an item that is not.
 */
export async function readInput(
  { input = [], previous_response_id: previous }: Pick<ResponseRequest, "input" | "previous_response_id">,
  { store, tenant, nextId }: ReadInputOptions,
) {
  const given = typeof input === "string" ? [{ role: "user" as const, content: input }] : input;
  const own: (ConversationItem & { readonly id: string })[] = [];
  for (const [i, item] of given.entries()) {
    const whole = isReference(item) ? await findItem(item.id, { store, tenant, place: `input[${i}]` }) : item;
    const id = "id" in whole ? whole.id : undefined;
    own.push({ ...whole, id: id ?? nextId("role" in whole ? "msg" : "item") });
  }
  if (previous === undefined) return { own, all: own as readonly ConversationItem[] };
  const from = { store: neededStore(store, "previous_response_id"), tenant };
  const last = await from.store.get(tenant, previous);
  if (last === undefined) throw notStored(previous);
  return { own, all: [...(await readChain(last, from)), ...own] };
}

async function findItem(
  id: string,
  { store, tenant, place }: Pick<ReadInputOptions, "store" | "tenant"> & { readonly place: string },
): Promise<ConversationItem> {
  const item = await neededStore(store, place).item(tenant, id);
  if (item !== undefined) return item;
  const message = `${place} refers to the item ${JSON.stringify(id)}, which is not stored; send the item itself`;
  throw new ApiError(message, { status: 400, code: "item_not_found", param: place });
}

const notStored = (id: string, continues = ""): ApiError =>
  notFound(
    `the response ${JSON.stringify(id)} is not stored${continues}; send the whole conversation as input`,
    "previous_response_not_found",
    "previous_response_id",
  );

/**
 * Items of a stored response and of those before it, in order.
 *
 * @throws ApiError 404 where one of those before it is no longer stored.
 */
export async function readChain(
  last: StoredResponse,
  { store, tenant }: { readonly store: ResponseStore; readonly tenant: string },
): Promise<readonly ConversationItem[]> {
  const chain = [last];
  for (let id = last.previous; id !== undefined; id = chain.at(-1)?.previous) {
    const stored = await store.get(tenant, id);
    if (stored === undefined || chain.length === MAX_CHAIN)
      throw notStored(id, `, which ${JSON.stringify(last.id)} continues`);
    chain.push(stored);
  }
  return chain
    .reverse()
    .flatMap(({ input, output }) => [...input, ...(output as readonly ConversationItem[])]);
}

/**
 * A stored response with those that it continues, as training data have conversations: an answer, and what led to it. Undefined
 * where it is not stored.
 *
 * @throws ApiError 404 where one that it continues is no longer stored.
 */
export async function storedConversation(
  store: ResponseStore,
  { tenant, id }: { readonly tenant: string; readonly id: string },
) {
  const stored = await store.get(tenant, id);
  if (stored === undefined) return undefined;
  const { model, instructions } = stored.response;
  const all = await readChain(stored, { store, tenant });
  const before = all.slice(0, all.length - stored.output.length);
  const names = new Map();
  const system = typeof instructions === "string" ? instructions : undefined;
  return {
    model: String(model),
    prompt: toMessages(before, { names, instructions: system }).map(toTrainingMessage),
    completion: toMessages(all.slice(before.length), { names }).map(toTrainingMessage),
  };
}

/** A message of OpenAI's chat API, as lines of training data have it. */
const toTrainingMessage = ({ role, content, toolCalls = [], toolCallId }: ChatMessage) => ({
  role,
  content,
  ...(toolCalls.length === 0 ? {} : { tool_calls: toolCalls.map(writeCall) }),
  ...(toolCallId === undefined ? {} : { tool_call_id: toolCallId }),
});

// The response as an object: what the Responses API and Open Responses require of it.

const tokens = z.int().min(0);

export const usage = z.object({
  input_tokens: tokens,
  input_tokens_details: z.object({ cached_tokens: tokens }),
  output_tokens: tokens,
  output_tokens_details: z.object({ reasoning_tokens: tokens }),
  total_tokens: tokens,
});

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

/** What a response says of its request. */
export const askedFor = (request: ResponseRequest, tools: ResponseTools["shown"]) => ({
  ...UNSET,
  ...Object.fromEntries(Object.entries(request).filter(([field]) => field in UNSET)),
  tools: tools.map(withDefaults),
  text: { verbosity: "medium", ...request.text, format: withFormatDefaults(request.text?.format) },
  reasoning: { effort: null, summary: null, ...request.reasoning },
});

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

/** Members that clients expect of a function, though a request may leave them out. */
const withDefaults = (tool: ResponseTools["shown"][number]) =>
  tool.type === "function" ? { description: null, parameters: null, strict: null, ...tool } : tool;

const withFormatDefaults = (
  format: NonNullable<ResponseRequest["text"]>["format"] = { type: "text" },
): object => (format.type === "json_schema" ? { description: null, strict: null, ...format } : format);
