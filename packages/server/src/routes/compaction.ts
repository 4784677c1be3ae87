// POST /v1/responses/compact: a conversation as one item, in which the model has summarised it.
import { z } from "@hono/zod-openapi";
import type { ChatMessage } from "mixture-of-shards-core/text";
import { newId } from "../answer.ts";
import { ApiError } from "../errors.ts";
import { responseRequest, usage } from "../responses/request.ts";
import { route } from "../route.ts";
import { itemBody, readRequest, startResponse } from "./responses.ts";

const compactRequest = responseRequest
  .pick({
    ...{ model: true, input: true, instructions: true, previous_response_id: true },
    ...{ prompt_cache_key: true, prompt_cache_options: true, prompt_cache_retention: true },
    // clients send those of the conversation
    ...{ tools: true, parallel_tool_calls: true, reasoning: true, text: true, service_tier: true },
  })
  .openapi("CompactRequest");

const TASK =
  "Summarise our conversation so far, so that it can go on from your summary alone: what I want, what was found and decided, " +
  "names and numbers as they are, and what is left to do. Write the summary and nothing else.";

/** A message of the user must not follow another one in most chat templates. */
function withTask(messages: readonly ChatMessage[]): readonly ChatMessage[] {
  const last = messages.at(-1);
  if (last?.role !== "user") return [...messages, { role: "user", content: TASK }];
  return [...messages.slice(0, -1), { ...last, content: `${last.content}\n\n${TASK}` }];
}

export const compactionRoute = route({
  method: "post",
  path: "/v1/responses/compact",
  summary: "Compact a conversation",
  middleware: itemBody,
  body: compactRequest,
  ok: [
    z.object({
      id: z.string(),
      object: z.literal("response.compaction"),
      created_at: z.int(),
      output: z.array(
        z.object({
          type: z.literal("compaction"),
          id: z.string(),
          encrypted_content: z.string().describe("The summary. It is not encrypted."),
        }),
      ),
      usage,
    }),
    "The item that stands for the conversation.",
  ],
  answer: async ({ body: { text: _, ...request }, context }) => {
    const planned = await readRequest(context, { ...request, store: false, tool_choice: "none" });
    const fields = { ...planned.fields, messages: withTask(planned.fields.messages) };
    const answer = await startResponse(context, { ...planned, fields });
    const { id, created_at, output, usage } = await answer.whole();
    const summary = output.flatMap((item) =>
      item.type === "message" ? item.content.map(({ text }) => text) : [],
    );
    const encrypted_content = summary.join("\n").trim();
    if (encrypted_content === "" || usage === null)
      throw new ApiError("the model has written no summary; keep the conversation as it is", {
        status: 422,
        code: "no_summary",
      });
    const item = { type: "compaction" as const, id: newId("cmp"), encrypted_content };
    return { id, object: "response.compaction" as const, created_at, output: [item], usage };
  },
});
