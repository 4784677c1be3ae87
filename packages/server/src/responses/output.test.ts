import { describe, expect, test } from "vitest";
import { type OutputEvent, OutputWriter } from "./output.ts";

function start() {
  let count = 0;
  const names = new Map([["mail__send", { name: "send", namespace: "mail" }]]);
  return new OutputWriter({ nextId: (prefix) => `${prefix}_${++count}`, names });
}

const types = (events: readonly OutputEvent[]): readonly string[] =>
  events.map(({ type }) => type.replace("response.", ""));

describe("the output of a response", () => {
  test("a text has an item, a part and deltas, which together are the text", () => {
    const writer = start();
    const events = [
      ...writer.write({ type: "text", text: "Good " }),
      ...writer.write({ type: "text", text: "day" }),
      ...writer.finish(false),
    ];
    expect(types(events)).toEqual([
      ...["output_item.added", "content_part.added", "output_text.delta", "output_text.delta"],
      ...["output_text.done", "content_part.done", "output_item.done"],
    ]);
    expect(events[0]).toMatchObject({ output_index: 0, item: { status: "in_progress", content: [] } });
    expect(events.at(-1)).toMatchObject({
      item: { id: "msg_1", status: "completed", content: [{ type: "output_text", text: "Good day" }] },
    });
  });

  test("reasoning, text and calls are items in their order, and each event names its own", () => {
    const writer = start();
    const events = [
      ...writer.write({ type: "reasoning", text: "Hm." }),
      ...writer.write({ type: "text", text: "A moment." }),
      ...writer.write({ type: "call", index: 0, id: "call_x", kind: "function", name: "mail__send" }),
      ...writer.write({ type: "arguments", index: 0, text: '{"to"' }),
      ...writer.write({ type: "arguments", index: 0, text: ":1}" }),
      ...writer.write({ type: "call_end", index: 0 }),
      ...writer.write({ type: "call", index: 1, kind: "custom", name: "patch" }),
      ...writer.write({ type: "arguments", index: 1, text: "raw" }),
      ...writer.write({ type: "call_end", index: 1 }),
      ...writer.finish(false),
    ];
    expect(writer.items).toMatchObject([
      { type: "reasoning", content: [{ text: "Hm." }] },
      { type: "message", content: [{ text: "A moment." }] },
      { type: "function_call", call_id: "call_x", name: "send", namespace: "mail", arguments: '{"to":1}' },
      { type: "custom_tool_call", name: "patch", input: "raw" },
    ]);
    expect(writer.items.every(({ status }) => status === "completed")).toBe(true);
    for (const event of events) {
      const index = event["output_index"] as number;
      const id = event["item_id"] ?? (event["item"] as { readonly id: string }).id;
      expect(id).toBe(writer.items[index]?.id);
    }
    expect(types(events).filter((type) => type.endsWith("done"))).toEqual([
      ...["reasoning_text.done", "content_part.done", "output_item.done"],
      ...["output_text.done", "content_part.done", "output_item.done"],
      ...["function_call_arguments.done", "output_item.done"],
      ...["custom_tool_call_input.done", "output_item.done"],
    ]);
  });

  test("a call that was cut off is incomplete, with its arguments as they are", () => {
    const writer = start();
    writer.write({ type: "call", index: 0, kind: "function", name: "f" });
    writer.write({ type: "arguments", index: 0, text: '{"a' });
    writer.finish(true);
    expect(writer.items).toMatchObject([{ status: "incomplete", arguments: '{"a' }]);
  });

  test("an empty answer is an empty text; a call without arguments has an empty object", () => {
    const empty = start();
    empty.finish(false);
    expect(empty.items).toMatchObject([{ type: "message", content: [{ text: "" }] }]);
    const call = start();
    call.write({ type: "call", index: 0, kind: "function", name: "f" });
    const events = call.write({ type: "call_end", index: 0 });
    expect(events[0]).toMatchObject({ type: "response.function_call_arguments.done", arguments: "{}" });
  });
});
