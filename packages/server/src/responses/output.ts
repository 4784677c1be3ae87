// The output of a response: its items as they grow, and the events that tell a client about it.
import type { AnswerDelta } from "mixture-of-shards-core/text";
import type { writeLogprob } from "../logprobs.ts";
import type { FlatNames } from "./tools.ts";

/** A token of a text with its log-probability. */
type OutputLogprob = ReturnType<typeof writeLogprob>;

interface Item {
  readonly id: string;
  status: "in_progress" | "completed" | "incomplete";
}

interface Called extends Item {
  readonly call_id: string;
  readonly name: string;
  readonly namespace?: string;
}

/** The one part of a text's content. Reasoning has no log-probabilities. */
interface TextPart {
  readonly type: "output_text" | "reasoning_text";
  text: string;
  readonly annotations?: readonly never[];
  readonly logprobs?: OutputLogprob[];
}

export type OutputItem =
  | (Item & { readonly type: "message"; readonly role: "assistant"; readonly content: TextPart[] })
  | (Item & { readonly type: "reasoning"; readonly summary: readonly never[]; readonly content: TextPart[] })
  | (Called & { readonly type: "function_call"; arguments: string })
  | (Called & { readonly type: "custom_tool_call"; input: string });

/** Names of the events about the text of an item. */
const TEXT_EVENTS = {
  message: "response.output_text",
  reasoning: "response.reasoning_text",
  function_call: "response.function_call_arguments",
  custom_tool_call: "response.custom_tool_call_input",
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
        return [...this.#begin("message"), ...this.#grow(delta.text, logprobs)];
      case "reasoning":
        return [...this.#begin("reasoning"), ...this.#grow(delta.text)];
      case "call":
        return this.#beginCall(delta);
      case "arguments":
        return this.#grow(delta.text);
      case "call_end":
        return this.#close("completed");
    }
  }

  /** Ends the output. An answer without anything is an empty text. A call that was cut off stays incomplete. */
  finish(isCut: boolean): readonly OutputEvent[] {
    const events = this.items.length === 0 ? this.#begin("message") : [];
    return [...events, ...this.#close(isCut ? "incomplete" : "completed")];
  }

  #begin(type: "message" | "reasoning"): readonly OutputEvent[] {
    if (this.#open?.type === type) return [];
    const before = this.#close("completed");
    const { nextId } = this.#options;
    const started = { status: "in_progress" as const, content: [] as TextPart[] };
    const isMessage = type === "message";
    const item: OutputItem = isMessage
      ? { type, id: nextId("msg"), role: "assistant", ...started }
      : { type, id: nextId("rs"), summary: [], ...started };
    const part: TextPart = isMessage
      ? { type: "output_text", text: "", annotations: [], logprobs: [] }
      : { type: "reasoning_text", text: "" };
    const added = this.#add(item); // without the part, which is an event of its own
    started.content.push(part);
    const begun = this.#event("response.content_part.added", { content_index: 0, part: { ...part } });
    return [...before, added, begun];
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

  #add(item: OutputItem): OutputEvent {
    this.items.push(item);
    this.#open = item;
    return this.#itemEvent("added", item);
  }

  /** An event with an item as it is now: it may grow later. */
  #itemEvent(what: "added" | "done", item: OutputItem): OutputEvent {
    const output_index = this.items.length - 1;
    return { type: `response.output_item.${what}`, output_index, item: structuredClone(item) };
  }

  /** An event of the item that grows. */
  #event(type: string, members: Readonly<Record<string, unknown>>): OutputEvent {
    return { type, item_id: this.#open?.id, output_index: this.items.length - 1, ...members };
  }

  /** Adds to the text of the item that grows. */
  #grow(delta: string, logprobs: readonly OutputLogprob[] = []): readonly OutputEvent[] {
    const item = this.#open;
    if (item === undefined || (delta === "" && logprobs.length === 0)) return [];
    const type = `${TEXT_EVENTS[item.type]}.delta`;
    if (item.type === "function_call") item.arguments += delta;
    else if (item.type === "custom_tool_call") item.input += delta;
    else {
      const [part] = item.content as [TextPart];
      part.text += delta;
      part.logprobs?.push(...logprobs);
      return [this.#event(type, { content_index: 0, delta, ...(part.logprobs && { logprobs }) })];
    }
    return [this.#event(type, { delta })];
  }

  #close(status: Item["status"]): readonly OutputEvent[] {
    const item = this.#open;
    if (item === undefined) return [];
    item.status = status;
    const events = [...this.#doneEvents(item), this.#itemEvent("done", item)];
    this.#open = undefined;
    return events;
  }

  #doneEvents(item: OutputItem): readonly OutputEvent[] {
    const type = `${TEXT_EVENTS[item.type]}.done`;
    if (item.type === "custom_tool_call") return [this.#event(type, { input: item.input })];
    if (item.type === "function_call") {
      // a client parses them: without any they are an empty object
      if (item.arguments === "" && item.status === "completed") item.arguments = "{}";
      return [this.#event(type, { name: item.name, arguments: item.arguments })];
    }
    const [part] = item.content as [TextPart];
    const { text, logprobs } = part;
    return [
      this.#event(type, { content_index: 0, text, ...(logprobs && { logprobs }) }),
      this.#event("response.content_part.done", { content_index: 0, part: { ...part } }),
    ];
  }
}
