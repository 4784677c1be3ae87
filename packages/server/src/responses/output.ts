// The output of a response: its items as they grow, and the events that tell a client about it.
import type { AnswerDelta } from "mixture-of-shards-core/text";
import type { writeLogprob } from "../logprobs.ts";
import type { FlatNames } from "./tools.ts";

/** A token of a text with its log-probability. */
type OutputLogprob = ReturnType<typeof writeLogprob>;

type Status = "in_progress" | "completed" | "incomplete";

interface TextPart {
  readonly type: "output_text";
  text: string;
  readonly annotations: readonly never[];
  readonly logprobs: OutputLogprob[];
}

/** An item of a response's output. */
export type OutputItem =
  | {
      readonly type: "message";
      readonly id: string;
      status: Status;
      readonly role: "assistant";
      readonly content: TextPart[];
    }
  | {
      readonly type: "reasoning";
      readonly id: string;
      status: Status;
      readonly summary: readonly never[];
      readonly content: { readonly type: "reasoning_text"; text: string }[];
    }
  | {
      readonly type: "function_call";
      readonly id: string;
      readonly call_id: string;
      readonly name: string;
      readonly namespace?: string;
      arguments: string;
      status: Status;
    }
  | {
      readonly type: "custom_tool_call";
      readonly id: string;
      readonly call_id: string;
      readonly name: string;
      readonly namespace?: string;
      input: string;
      status: Status;
    };

/** An event of a stream, without its number. */
export interface OutputEvent {
  readonly type: string;
  readonly [member: string]: unknown;
}

interface OutputWriterOptions {
  /** Makes the id of an item, such as msg_… */
  readonly nextId: (prefix: "msg" | "rs" | "fc" | "ctc" | "call") => string;
  /** Tools of namespaces by the names that the model knows. */
  readonly names: FlatNames;
}

/** Writes the output of one response: each delta makes events, which together say what `items` has at the end. */
export class OutputWriter {
  readonly items: OutputItem[] = [];
  readonly #options: OutputWriterOptions;
  /** The item that grows. Of calls, only one grows at a time. */
  #open: OutputItem | undefined;

  constructor(options: OutputWriterOptions) {
    this.#options = options;
  }

  /** @param logprobs Those of the tokens of a text. */
  write(delta: AnswerDelta, logprobs: readonly OutputLogprob[] = []): readonly OutputEvent[] {
    switch (delta.type) {
      case "text":
        return [...this.#begin("message"), ...this.#addText(delta.text, logprobs)];
      case "reasoning":
        return [...this.#begin("reasoning"), ...this.#addReasoning(delta.text)];
      case "call":
        return this.#beginCall(delta);
      case "arguments":
        return this.#addArguments(delta.text);
      case "call_end":
        return this.#close("completed");
    }
  }

  /** Ends the output. An answer without anything is an empty text. A call that was cut off stays incomplete. */
  finish(isCut: boolean): readonly OutputEvent[] {
    const events = this.items.length === 0 ? [...this.#begin("message")] : [];
    return [...events, ...this.#close(isCut ? "incomplete" : "completed")];
  }

  #begin(type: "message" | "reasoning"): readonly OutputEvent[] {
    if (this.#open?.type === type) return [];
    const before = this.#close("completed");
    const id = this.#options.nextId(type === "message" ? "msg" : "rs");
    const added = this.#add(
      type === "message"
        ? { type, id, status: "in_progress", role: "assistant", content: [] }
        : { type, id, status: "in_progress", summary: [], content: [] },
    );
    const part =
      type === "message"
        ? ({ type: "output_text", text: "", annotations: [], logprobs: [] } as TextPart)
        : ({ type: "reasoning_text", text: "" } as const);
    const item = this.#open as unknown as { content: (typeof part)[] };
    item.content.push(part);
    return [
      ...before,
      added,
      this.#event("response.content_part.added", { content_index: 0, part: { ...part } }),
    ];
  }

  #add(item: OutputItem): OutputEvent {
    this.items.push(item);
    this.#open = item;
    // as it is now: it grows later
    return {
      type: "response.output_item.added",
      output_index: this.items.length - 1,
      item: structuredClone(item),
    };
  }

  /** An event of the item that grows. */
  #event(type: string, members: Readonly<Record<string, unknown>>): OutputEvent {
    return { type, item_id: this.#open?.id, output_index: this.items.length - 1, ...members };
  }

  #addText(text: string, logprobs: readonly OutputLogprob[]): readonly OutputEvent[] {
    if (this.#open?.type !== "message") return [];
    const [part] = this.#open.content;
    if (part === undefined) return [];
    part.text += text;
    part.logprobs.push(...logprobs);
    if (text === "" && logprobs.length === 0) return [];
    return [this.#event("response.output_text.delta", { content_index: 0, delta: text, logprobs })];
  }

  #addReasoning(text: string): readonly OutputEvent[] {
    if (this.#open?.type !== "reasoning" || text === "") return [];
    const [part] = this.#open.content;
    if (part !== undefined) part.text += text;
    return [this.#event("response.reasoning_text.delta", { content_index: 0, delta: text })];
  }

  #beginCall({ id, kind, name }: Extract<AnswerDelta, { type: "call" }>): readonly OutputEvent[] {
    const { nextId, names } = this.#options;
    const before = this.#close("completed");
    const call = { call_id: id ?? nextId("call"), ...(names.get(name) ?? { name }) };
    const item: OutputItem =
      kind === "function"
        ? { type: "function_call", id: nextId("fc"), ...call, arguments: "", status: "in_progress" }
        : { type: "custom_tool_call", id: nextId("ctc"), ...call, input: "", status: "in_progress" };
    return [...before, this.#add(item)];
  }

  #addArguments(text: string): readonly OutputEvent[] {
    const open = this.#open;
    if (text === "") return [];
    if (open?.type === "function_call") {
      open.arguments += text;
      return [this.#event("response.function_call_arguments.delta", { delta: text })];
    }
    if (open?.type !== "custom_tool_call") return [];
    open.input += text;
    return [this.#event("response.custom_tool_call_input.delta", { delta: text })];
  }

  #close(status: Status): readonly OutputEvent[] {
    const item = this.#open;
    if (item === undefined) return [];
    item.status = status;
    const done = this.#doneEvents(item);
    const last = {
      type: "response.output_item.done",
      output_index: this.items.length - 1,
      item: structuredClone(item),
    };
    this.#open = undefined;
    return [...done, last];
  }

  #doneEvents(item: OutputItem): readonly OutputEvent[] {
    switch (item.type) {
      case "message": {
        const [part] = item.content;
        const { text = "", logprobs = [] } = part ?? {};
        return [
          this.#event("response.output_text.done", { content_index: 0, text, logprobs }),
          this.#event("response.content_part.done", { content_index: 0, part: { ...part } }),
        ];
      }
      case "reasoning": {
        const [part] = item.content;
        return [
          this.#event("response.reasoning_text.done", { content_index: 0, text: part?.text ?? "" }),
          this.#event("response.content_part.done", { content_index: 0, part: { ...part } }),
        ];
      }
      case "function_call": {
        // a client parses them: without any they are an empty object
        if (item.arguments === "" && item.status === "completed") item.arguments = "{}";
        const { name, arguments: text } = item;
        return [this.#event("response.function_call_arguments.done", { name, arguments: text })];
      }
      case "custom_tool_call":
        return [this.#event("response.custom_tool_call_input.done", { input: item.input })];
    }
  }
}
