// The answer to a message: its blocks as they grow, and the events that tell a client about them.
import { z } from "@hono/zod-openapi";
import { tryJson } from "mixture-of-shards-core/common";
import type { AnswerDelta } from "mixture-of-shards-core/text";
import { newId } from "../answer.ts";

const textBlock = z.object({ type: z.literal("text"), text: z.string(), citations: z.null() });
const thinkingBlock = z.object({ type: z.literal("thinking"), thinking: z.string(), signature: z.string() });
const toolUse = z.object({
  type: z.literal("tool_use"),
  id: z.string(),
  name: z.string(),
  input: z.record(z.string(), z.unknown()),
});

const block = z.discriminatedUnion("type", [textBlock, thinkingBlock, toolUse]);
type Block = z.output<typeof block>;

export const messageAnswer = z
  .object({
    id: z.string(),
    type: z.literal("message"),
    role: z.literal("assistant"),
    model: z.string(),
    content: z.array(block),
    stop_reason: z
      .enum(["end_turn", "max_tokens", "stop_sequence", "tool_use", "model_context_window_exceeded"])
      .nullable(),
    stop_sequence: z.string().nullable(),
    usage: z.object({
      input_tokens: z.int().describe("Tokens of the prompt that were computed."),
      cache_creation_input_tokens: z.literal(0),
      cache_read_input_tokens: z.int().describe("Tokens of the prompt from the prefix cache."),
      output_tokens: z.int(),
    }),
  })
  .openapi("Message");

export type MessageAnswer = z.output<typeof messageAnswer>;

export const messageEvent = z.looseObject({ type: z.string() }).openapi("MessageEvent");
type MessageEvent = z.output<typeof messageEvent>;

/** Clients send thinking back only with a signature, and nothing here needs one. */
const SIGNATURE = "unsigned";

/** Writes the content of one answer: each delta makes events, which together say what `content` has at the end. */
export class BlockWriter {
  /** Blocks that have ended. A call that was cut off is none that a client should make, and is missing. */
  readonly content: Block[] = [];
  #open: Block | undefined;
  #text = "";
  #begun = 0;

  write(delta: AnswerDelta): readonly MessageEvent[] {
    switch (delta.type) {
      case "text":
        return [...this.#begin({ type: "text", text: "", citations: null }), this.#grow("text", delta.text)];
      case "reasoning":
        return [
          ...this.#begin({ type: "thinking", thinking: "", signature: "" }),
          this.#grow("thinking", delta.text),
        ];
      case "call":
        return this.#begin({ type: "tool_use", id: delta.id ?? newId("toolu"), name: delta.name, input: {} });
      case "arguments":
        return [this.#grow("partial_json", delta.text)];
      case "call_end":
        return this.end();
    }
  }

  /** Ends the last block. */
  end(): readonly MessageEvent[] {
    const block = this.#open;
    if (block === undefined) return [];
    this.#open = undefined;
    const stop = this.#event("stop");
    const text = this.#text;
    if (block.type === "text") this.content.push({ ...block, text });
    else if (block.type === "thinking") {
      this.content.push({ ...block, thinking: text, signature: SIGNATURE });
      const delta = { type: "signature_delta", signature: SIGNATURE };
      return [this.#event("delta", { delta }), stop];
    } else {
      const { success, data } = toolUse.shape.input.safeParse(text === "" ? {} : tryJson(text));
      if (success) this.content.push({ ...block, input: data });
    }
    return [stop];
  }

  /** Begins a block, unless a text or thinking goes on. */
  #begin(content_block: Block): readonly MessageEvent[] {
    if (this.#open?.type === content_block.type && content_block.type !== "tool_use") return [];
    const before = this.end();
    this.#open = content_block;
    this.#text = "";
    this.#begun++;
    return [...before, this.#event("start", { content_block })];
  }

  #grow(member: "text" | "thinking" | "partial_json", text: string): MessageEvent {
    this.#text += text;
    const type = member === "partial_json" ? "input_json_delta" : `${member}_delta`;
    return this.#event("delta", { delta: { type, [member]: text } });
  }

  #event(what: "start" | "delta" | "stop", members: object = {}): MessageEvent {
    return { type: `content_block_${what}`, index: this.#begun - 1, ...members };
  }
}
