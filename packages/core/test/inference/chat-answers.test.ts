// Answers of chats with schemas and tools, of the bundled model: whatever it likes to write, each is what was asked for.
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { type ChatRequest, openEngine } from "#inference";
import type { Tool } from "#text";
import { runs } from "../../../../test/runs.ts";
import { catchRefusal, thrownBy } from "./tiny-engine.ts";

const engine = await openEngine({ model: "assets/tiny-english", inProcess: true, threads: 1, maxBatch: 8 });
const ajv = new Ajv2020({ strict: false });

const wild: ChatRequest = { maxTokens: 200, sampling: { temperature: 2, topP: 1, topK: 0 } };
const seeds = (count: number) => Array.from({ length: count }, (_, seed) => seed);

const schemas: readonly object[] = [
  {
    type: "object",
    properties: {
      name: { type: "string", maxLength: 12 },
      age: { type: "integer", minimum: 0, maximum: 130 },
      role: { enum: ["reader", "editor"] },
      tags: { type: "array", items: { type: "string", maxLength: 5 }, maxItems: 2 },
    },
    required: ["name", "age"],
    additionalProperties: false,
  },
  { type: "array", items: { anyOf: [{ type: "boolean" }, { type: "null" }, { const: "é\n" }] }, maxItems: 4 },
  { type: "string", pattern: "^[a-c]{2,5}$" },
  {
    type: "array",
    prefixItems: [{ $ref: "#/$defs/grade" }, { $ref: "#/$defs/grade" }],
    minItems: 2,
    maxItems: 2,
    $defs: { grade: { type: "integer", minimum: -3, maximum: 12 } },
  },
];

describe("an answer of a JSON schema", () => {
  test.each(schemas.map((schema, i) => [i, schema] as const))("matches schema %i", async (_, schema) => {
    const matches = ajv.compile(schema);
    const answers = await Promise.all(
      seeds(runs(24)).map((seed) =>
        engine
          .chat("A reader?", { ...wild, seed, responseFormat: { type: "json_schema", schema } })
          .message(),
      ),
    );
    const whole = answers.filter(({ finishReason }) => finishReason === "end");
    expect(whole.length).toBeGreaterThan(answers.length / 2);
    for (const { content, toolCalls } of whole) {
      expect(matches(JSON.parse(content)), content).toBe(true);
      expect(toolCalls).toEqual([]);
    }
  });

  test("of zod is what zod takes, and has no other properties", async () => {
    const person = z.object({ name: z.string().max(8), born: z.int().min(0).max(2000).optional() });
    for (const responseFormat of [person, { type: "json_schema", schema: person } as const]) {
      const { content, finishReason } = await engine.chat("Who?", { ...wild, responseFormat }).message();
      expect(finishReason).toBe("end");
      expect(Object.keys(z.strictObject(person.shape).parse(JSON.parse(content)))).toContain("name");
    }
  });

  test("any object", async () => {
    const responseFormat = { type: "json_object" } as const;
    const { content, finishReason } = await engine.chat("Who?", { responseFormat, maxTokens: 300 }).message();
    if (finishReason === "end") expect(JSON.parse(content)).toBeTypeOf("object");
    expect(content).toMatch(/^\{/);
  });
});

// few words, since the model reads 512 tokens
const tools: readonly Tool[] = [
  {
    type: "function",
    name: "rain",
    parameters: {
      type: "object",
      properties: { town: { type: "string", maxLength: 10 } },
      required: ["town"],
      additionalProperties: false,
    },
  },
];
const clock: Tool = {
  type: "function",
  name: "now",
  parameters: z.object({ zone: z.enum(["utc", "local"]) }) as never,
};

describe("calls of tools", () => {
  test("have the tool's name and arguments of its schema, each with an id of its own", async () => {
    const answers = await Promise.all(
      seeds(6).map((seed) =>
        engine
          .chat("Rain?", { ...wild, seed, tools, toolChoice: "required", parallelToolCalls: false })
          .message(),
      ),
    );
    const calls = answers.flatMap(({ toolCalls, finishReason }) => (finishReason === "end" ? toolCalls : []));
    expect(calls.length).toBeGreaterThan(3);
    expect(new Set(calls.map(({ id }) => id)).size).toBe(calls.length);
    const [weather] = tools;
    const matches = ajv.compile((weather?.type === "function" && weather.parameters) || {});
    for (const call of calls) {
      const given = JSON.parse(call.type === "function" ? call.arguments : "null");
      expect(call.name).toBe("rain");
      expect(matches(given), JSON.stringify(given)).toBe(true);
    }
  });

  test("come in parts, which joined are the message's", async () => {
    const request = { ...wild, seed: 3, tools: [clock], toolChoice: "required" } as const;
    const { toolCalls, content } = await engine
      .chat("Time?", { ...request, parallelToolCalls: false })
      .message();
    const parts = [];
    for await (const part of engine.chat("Time?", { ...request, parallelToolCalls: false }).parts())
      parts.push(part);
    expect(content).toBe("");
    expect(parts[0]).toMatchObject({ type: "call", index: 0, kind: "function", name: "now" });
    const written = parts.map((part) => (part.type === "arguments" ? part.text : "")).join("");
    expect(toolCalls).toMatchObject([{ type: "function", name: "now", arguments: written }]);
    expect(parts.at(-1)).toEqual({ type: "call_end", index: 0 });
  });

  test("are not repeated: the answer ends before a call with the arguments of an earlier one", async () => {
    const only: Tool = {
      type: "function",
      name: "noon",
      parameters: { type: "object", properties: { zone: { const: "utc" } }, required: ["zone"] },
    };
    // as a model does that never learnt to end
    const logitBias = new Map(engine.model.endTokens.map((id) => [id, -100] as const));
    const request = { tools: [only], toolChoice: "required", maxTokens: 200 } as const;
    const { toolCalls, finishReason } = await engine
      .chat("Time?", { ...request, sampling: { logitBias } })
      .message();
    expect(finishReason).toBe("stop");
    expect(toolCalls).toMatchObject([{ name: "noon", arguments: '{"zone": "utc"}' }]);
  });

  test("are none without tools: the message is the answer's text", async () => {
    let text = "";
    for await (const event of engine.chat("Hi", { maxTokens: 8 })) if ("text" in event) text += event.text;
    const message = await engine.chat("Hi", { maxTokens: 8 }).message();
    expect(message).toMatchObject({ role: "assistant", content: text, toolCalls: [] });
    expect(message.usage.completionTokens).toBeLessThanOrEqual(8);
  });
});

describe("refused are", () => {
  const refused: readonly (readonly [string, object, RegExp | string])[] = [
    ["a grammar beside tools", { grammar: { type: "json_object" }, tools }, /grammar conflicts/],
    ["a tool twice", { tools: [clock, clock] }, /two are named "now"/],
    ["a choice of no tool", { tools, toolChoice: { mode: "auto", names: ["then"] } }, /no tool "then"/],
    ["a demand without tools", { toolChoice: "required" }, /needs tools/],
    ["an unknown mode", { tools, toolChoice: "any" }, /give none, auto or required/],
    ["an unknown form", { responseFormat: { type: "xml" } }, /give text, json_object or json_schema/],
    ["an unknown option", { tool: [] }, /unknown option tool/],
  ];
  test.each(refused)("%s", (_, options, message) => {
    expect(() => engine.chat("Hi", options)).toThrowError(message);
    expect(thrownBy(() => engine.chat("Hi", options))).toBe("bad_option");
  });

  test("a schema with a keyword that cannot be enforced, by its name", async () => {
    const schema = { type: "array", uniqueItems: true };
    const ask = () => engine.chat("Hi", { responseFormat: { type: "json_schema", schema } });
    expect(await catchRefusal(ask)).toBe("bad_option");
    expect((await engine.stats()).grammars.refused).toHaveProperty("uniqueItems");
  });
});
