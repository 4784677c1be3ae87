// The events of a message's blocks say the same as the blocks, however the answer's deltas are cut.
import fc from "fast-check";
import type { AnswerDelta } from "mixture-of-shards-core/text";
import { expect, test } from "vitest";
import { BlockWriter } from "./output.ts";

const call = (index: number, pieces: readonly string[], isCut?: true): readonly AnswerDelta[] => [
  { type: "call", index, kind: "function", name: `f${index}` },
  ...pieces.map((text) => ({ type: "arguments" as const, index, text })),
  { type: "call_end", index, ...(isCut && { isCut }) },
];

/** Writes deltas, and accumulates the events as a client does. */
function write(deltas: readonly AnswerDelta[]) {
  const writer = new BlockWriter();
  const events = [...deltas.flatMap((delta) => writer.write(delta)), ...writer.end()];
  // biome-ignore lint/suspicious/noExplicitAny: events of any shape are read
  const read: any[] = [];
  let open = -1;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  for (const { type, index, content_block, delta } of events as any[]) {
    if (type === "content_block_start") {
      expect([open, index]).toEqual([-1, read.length]);
      read.push({ ...content_block, json: "" });
      open = index;
      continue;
    }
    expect(index).toBe(open);
    const block = read[index];
    if (type === "content_block_stop") open = -1;
    else if (delta.type === "text_delta") block.text += delta.text;
    else if (delta.type === "thinking_delta") block.thinking += delta.thinking;
    else if (delta.type === "signature_delta") block.signature = delta.signature;
    else block.json += delta.partial_json;
  }
  expect(open).toBe(-1);
  return { content: writer.content, read };
}

test("text, thinking and calls become blocks in their order; text after text is one", () => {
  const { content, read } = write([
    { type: "reasoning", text: "Hm" },
    { type: "reasoning", text: "m." },
    { type: "text", text: "Let me " },
    { type: "text", text: "see." },
    ...call(0, ['{"city": ', '"Bern"}']),
    ...call(1, []),
    { type: "text", text: "Done." },
  ]);
  expect(content).toEqual([
    { type: "thinking", thinking: "Hmm.", signature: "unsigned" },
    { type: "text", text: "Let me see.", citations: null },
    { type: "tool_use", id: expect.stringMatching(/^toolu_\w+$/), name: "f0", input: { city: "Bern" } },
    { type: "tool_use", id: expect.stringMatching(/^toolu_\w+$/), name: "f1", input: {} },
    { type: "text", text: "Done.", citations: null },
  ]);
  expect(
    read.map(({ json, input, ...block }) => ({ ...block, ...(input && { input: parsed(json) }) })),
  ).toEqual(content);
});

const parsed = (json: string): unknown => JSON.parse(json === "" ? "{}" : json);

test("a call that was cut off is streamed as far as it came, and is no block of the message", () => {
  const { content, read } = write([...call(0, ["{}"]), ...call(1, ['{"city": "Be'], true)]);
  expect(content).toEqual([expect.objectContaining({ name: "f0" })]);
  expect(read.at(-1)).toMatchObject({ name: "f1", json: '{"city": "Be' });
});

test("however text is cut, its block is the text", () => {
  const pieces = fc.array(fc.record({ type: fc.constantFrom("text", "reasoning"), text: fc.string() }));
  fc.assert(
    fc.property(pieces, (deltas) => {
      const { content, read } = write(deltas as readonly AnswerDelta[]);
      const all = deltas.map(({ type, text }) => `${type}:${text}`).join("");
      expect(content.length).toBeLessThanOrEqual(deltas.length);
      expect(read.map(({ json: _, ...block }) => block)).toEqual(content);
      const texts = content.map((block) => (block.type === "text" ? block.text : JSON.stringify(block)));
      if (deltas.every(({ type }) => type === "text"))
        expect(texts.join("")).toBe(all.replaceAll("text:", ""));
    }),
    { numRuns: 100 },
  );
});
