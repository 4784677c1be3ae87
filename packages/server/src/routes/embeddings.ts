// POST /v1/embeddings: texts as vectors.
import { z } from "@hono/zod-openapi";
import { MosError } from "mixture-of-shards-core/common";
import { unitVector } from "mixture-of-shards-core/inference";
import { jsonList, jsonObject, sendJson } from "../answer.ts";
import { startChoices, toFinishReason } from "../choices.ts";
import type { RequestContext } from "../context.ts";
import { resolveAdapter, samplingFields } from "../engine-requests.ts";
import { invalidValue } from "../errors.ts";
import { promptItems, promptSchema, readPrompts } from "../prompts.ts";
import { optional } from "../request.ts";
import { route } from "../route.ts";

const embeddingRequest = z
  .strictObject({
    model: samplingFields.model,
    input: promptSchema,
    encoding_format: optional(
      z.enum(["float", "base64"]),
      "base64 is of the vector's float32 numbers, little-endian.",
    ),
    dimensions: optional(
      z.int().min(1),
      "Keeps this many numbers, scaled to length 1: for models that were trained for it (Matryoshka).",
    ),
    user: samplingFields.user,
  })
  .openapi("EmbeddingRequest");

const embeddingAnswer = z
  .object({
    object: z.literal("list"),
    data: z.array(
      z.object({
        object: z.literal("embedding"),
        index: z.int(),
        embedding: z.union([z.array(z.number()), z.string()]),
      }),
    ),
    model: z.string(),
    usage: z.object({ prompt_tokens: z.int(), total_tokens: z.int() }),
  })
  .openapi("EmbeddingAnswer");

export const embeddingRoute = route({
  method: "post",
  path: "/v1/embeddings",
  summary: "Embed texts",
  body: embeddingRequest,
  ok: [embeddingAnswer, "The embeddings, in the order of the input."],
  answer: ({ body, context }) => answerEmbeddings(context, body),
});

async function answerEmbeddings(
  context: RequestContext,
  request: z.output<typeof embeddingRequest>,
): Promise<Response> {
  const { server, key, record, running } = context.var;
  const { hiddenSize } = server.engine.model;
  const { pooling } = server.engine.text;
  const { input, dimensions = hiddenSize, encoding_format } = request;
  const adapter = await resolveAdapter(context, request.model);
  if (pooling instanceof MosError) throw pooling;
  if (dimensions > hiddenSize)
    throw invalidValue(
      `dimensions is ${dimensions}; this model's embeddings have ${hiddenSize}`,
      "dimensions",
    );
  running.atEnd(server.embeddingBudget(promptItems(input).length * hiddenSize));
  const prompts = await readPrompts(input, { reader: server.prompts, field: "input", isWhole: true });
  const requests = prompts.map(({ ids: prompt }) => ({ prompt, adapter, pooling, tenant: key.name }));
  const vectors: Float32Array[] = [];
  for await (const [index, event] of await startChoices(context, { requests, isStream: false })) {
    if (event.type === "embedding") vectors[index] = unitVector(event.vector, dimensions);
    if (event.type === "finish") toFinishReason(event.finishReason); // throws for one that was cut off
  }
  const write = encoding_format === "base64" ? toBase64 : toNumbers;
  const { promptTokens, model = server.modelName } = record;
  const answer = {
    object: "list",
    data: jsonList(function* () {
      for (const [index, vector] of vectors.entries())
        yield { object: "embedding", index, embedding: write(vector) };
    }),
    model,
    usage: { prompt_tokens: promptTokens, total_tokens: promptTokens },
  };
  return sendJson(context, jsonObject(answer));
}

/** With as many digits as float32 has. */
const toNumbers = (vector: Float32Array): readonly number[] =>
  Array.from(vector, (value) => Number(value.toPrecision(9)));

const toBase64 = ({ buffer, byteOffset, byteLength }: Float32Array): string =>
  Buffer.from(buffer, byteOffset, byteLength).toString("base64");
