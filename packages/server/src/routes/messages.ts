// The routes of Anthropic's Messages API: the same conversations as chats, and their answers as blocks.
import { z } from "@hono/zod-openapi";
import { errorText } from "mixture-of-shards-core/common";
import type { FinishReason } from "mixture-of-shards-core/inference";
import { AnswerReader, newId, streamTypedEvents } from "../answer.ts";
import type { RequestContext } from "../context.ts";
import { planConversation, type StartedConversation, startConversation } from "../conversation.ts";
import { MESSAGES_PATH, messageError, toMessageError } from "../messages/errors.ts";
import { BlockWriter, type MessageAnswer, messageAnswer, messageEvent } from "../messages/output.ts";
import { countRequest, type MessageRequest, messageRequest, toConversation } from "../messages/request.ts";
import { type AddRoute, ok, route } from "../route.ts";

const responses = { default: ok(messageError, "An error in Anthropic's format.") };

export const messageRoutes: readonly AddRoute[] = [
  route({
    method: "post",
    path: MESSAGES_PATH,
    summary: "Create a message, by Anthropic's API",
    body: messageRequest,
    ok: [messageAnswer, "The message or, with stream: true, server-sent events."],
    also: { "text/event-stream": messageEvent },
    responses,
    answer: async ({ body, context }) => {
      const isStream = body.stream === true;
      const started = await startConversation(context, toConversation(body), {
        isStream,
        callPrefix: "toolu",
      });
      const answer = createAnswer(context, body, started);
      if (isStream) return streamTypedEvents(context, answer.stream());
      for await (const _ of answer.write());
      return answer.message();
    },
  }),
  route({
    method: "post",
    path: `${MESSAGES_PATH}/count_tokens`,
    summary: "Count the tokens of a message's prompt",
    body: countRequest,
    ok: [z.object({ input_tokens: z.int() }), "The tokens of the prompt."],
    responses,
    answer: async ({ body, context }) => {
      const { prompt } = await planConversation(context, toConversation(body));
      return { input_tokens: prompt.ids.length };
    },
  }),
];

/** One message while it is written. */
function createAnswer(
  { var: { server, record } }: RequestContext,
  request: MessageRequest,
  { events, format }: StartedConversation,
) {
  const id = newId("msg");
  const reader = new AnswerReader(format.parser());
  const writer = new BlockWriter();
  let end: Pick<MessageAnswer, "stop_reason" | "stop_sequence"> = { stop_reason: null, stop_sequence: null };
  const message = (): MessageAnswer => {
    const { model = server.modelName, promptTokens, cachedTokens, completionTokens } = record;
    const usage = {
      input_tokens: promptTokens - cachedTokens,
      cache_creation_input_tokens: 0 as const,
      cache_read_input_tokens: cachedTokens,
      output_tokens: completionTokens,
    };
    return { id, type: "message", role: "assistant", model, content: [...writer.content], ...end, usage };
  };
  const stopReason = (reason: FinishReason, stop: string | undefined): MessageAnswer["stop_reason"] => {
    if (reason === "length")
      return record.completionTokens < request.max_tokens ? "model_context_window_exceeded" : "max_tokens";
    if (stop !== undefined) return "stop_sequence";
    return writer.content.some(({ type }) => type === "tool_use") ? "tool_use" : "end_turn";
  };
  async function* write() {
    for await (const [, event] of events) {
      for (const delta of reader.read(event).deltas) yield* writer.write(delta);
      if (event.type !== "finish") continue;
      yield* writer.end();
      const { finishReason, stop } = event;
      end = { stop_reason: stopReason(finishReason, stop), stop_sequence: stop ?? null };
    }
  }
  /** All events of a stream. An error in the middle becomes an event, too, since the status was sent long before. */
  async function* stream() {
    yield { type: "message_start", message: message() };
    try {
      yield* write();
      yield { type: "message_delta", delta: end, usage: message().usage };
      yield { type: "message_stop" };
    } catch (thrown) {
      record.error = errorText(thrown);
      yield toMessageError(server.answerTo(thrown), record.id).body;
    }
  }
  return { message, write, stream };
}
