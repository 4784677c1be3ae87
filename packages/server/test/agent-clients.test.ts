// Vercel's AI SDK by its default, the Responses API, and LangChain: calls of tools, forms and references to what is stored, without
// a port. test/clients has all clients and their newest versions, against the real engine.
import { createOpenAI } from "@ai-sdk/openai";
import { ChatOpenAI } from "@langchain/openai";
import { generateText, type ModelMessage, Output, stepCountIs, streamText, tool } from "ai";
import { MosError } from "mixture-of-shards-core/common";
import { describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { type Harness, makeServer } from "./harness.ts";

const QUESTION = "When can I come in?";
const VISIT = { part: "garden", isEarly: true };
const visitSchema = z.object({ part: z.enum(["house", "garden"]), isEarly: z.boolean() });
const CALL = `<tool_call>\n{"name": "visit", "arguments": ${JSON.stringify(VISIT)}}\n</tool_call>`;

const serve = (answer?: string) =>
  makeServer({ engine: { maxLength: 4096, ...(answer === undefined ? {} : { answer }) } });

/** The server as a client's `fetch`, with the bodies that were sent. */
function spied(server: Harness) {
  // biome-ignore lint/suspicious/noExplicitAny: tests read requests of any shape
  const bodies: any[] = [];
  const request = (url: string | URL | Request, init?: RequestInit): Promise<Response> => {
    bodies.push(JSON.parse(String(init?.body)));
    return server.fetch(new URL(url instanceof Request ? url.url : url).pathname, init);
  };
  return { bodies, fetch: request };
}

const baseURL = "http://localhost/v1";

describe("the AI SDK's default model", () => {
  const makeModel = (server: Harness) => {
    const { bodies, fetch } = spied(server);
    return { bodies, model: createOpenAI({ baseURL, apiKey: "none", fetch })("base") };
  };

  test("refers to an earlier answer by item_reference", async () => {
    await using server = await serve();
    const { model, bodies } = makeModel(server);
    const messages: ModelMessage[] = [{ role: "user", content: QUESTION }];
    const first = await generateText({ model, messages, maxRetries: 0 });
    messages.push(...first.response.messages, { role: "user", content: "And then?" });
    const { text } = await generateText({ model, messages, maxRetries: 0 });
    expect(text).toBe(first.text);
    expect(bodies[1].input[1]).toEqual({ type: "item_reference", id: expect.stringMatching(/^msg_/) });
    const { tokenizer } = server.engine.text;
    expect(tokenizer.decode(server.engine.seen[1]!.prompt)).toContain(first.text.trim());
  });

  test("runs tools step by step, whole and streamed", async () => {
    await using server = await serve(CALL);
    const { model } = makeModel(server);
    const given: unknown[] = [];
    const visit = tool({
      inputSchema: visitSchema,
      execute: async (input) => {
        given.push(input);
        return "noted";
      },
    });
    const request = { model, prompt: QUESTION, maxRetries: 0, tools: { visit }, stopWhen: stepCountIs(2) };
    const { steps } = await generateText(request);
    expect(steps.map(({ finishReason }) => finishReason)).toEqual(["tool-calls", "tool-calls"]);
    let pieces = "";
    for await (const part of streamText(request).fullStream) {
      expect(part.type).not.toBe("error");
      if (part.type === "tool-input-delta") pieces += part.delta;
    }
    expect(pieces).toBe(JSON.stringify(VISIT).repeat(2));
    expect(given).toEqual([VISIT, VISIT, VISIT, VISIT]);
  });

  test("gets an object of a schema", async () => {
    await using server = await serve(JSON.stringify(VISIT));
    const { model } = makeModel(server);
    const output = Output.object({ schema: visitSchema });
    expect((await generateText({ model, prompt: QUESTION, maxRetries: 0, output })).output).toEqual(VISIT);
    expect(server.engine.seen[0]!.grammar).toMatchObject({ type: "json_schema" });
  });
});

test("an error in the middle of a stream reaches the AI SDK and OpenAI's client with its sentence", async () => {
  await using server = await serve();
  const { engine } = server;
  const { submit } = engine;
  engine.submit = async function* (request) {
    let events = 0;
    for await (const event of submit(request)) {
      if (events++ === 3) throw new MosError("busy", "too many requests wait");
      yield event;
    }
  };
  const model = createOpenAI({ baseURL, apiKey: "none", fetch: spied(server).fetch })("base");
  const onError = vi.fn();
  const parts: string[] = [];
  for await (const part of streamText({ model, prompt: QUESTION, maxRetries: 0, onError }).fullStream)
    parts.push(part.type);
  expect(parts).toContain("text-delta");
  expect(parts).toContain("error");
  expect(JSON.stringify(onError.mock.calls)).toContain("too many requests wait");
  const types: string[] = [];
  const stream = await server.client().responses.create({ model: "base", input: QUESTION, stream: true });
  for await (const { type } of stream) types.push(type);
  expect(types.slice(-2)).toEqual(["error", "response.failed"]);
  const final = server.client().responses.stream({ model: "base", input: QUESTION }).finalResponse();
  await expect(final).rejects.toThrow("too many requests wait");
});

describe.each([false, true])("LangChain, by the Responses API: %s", (useResponsesApi) => {
  const makeModel = (server: Harness) => {
    const { fetch } = spied(server);
    const configuration = { baseURL, fetch };
    return new ChatOpenAI({ model: "base", apiKey: "none", maxRetries: 0, configuration, useResponsesApi });
  };

  test("withStructuredOutput gives an object of a schema", async () => {
    await using server = await serve(JSON.stringify(VISIT));
    const model = makeModel(server).withStructuredOutput(visitSchema, {
      name: "visit",
      method: "jsonSchema",
    });
    expect(await model.invoke(QUESTION)).toEqual(VISIT);
  });

  test("bindTools gives calls, whole and in pieces", async () => {
    await using server = await serve(CALL);
    const model = makeModel(server).bindTools([{ name: "visit", description: "", schema: visitSchema }]);
    const { tool_calls } = await model.invoke(QUESTION);
    expect(tool_calls).toEqual([expect.objectContaining({ name: "visit", args: VISIT })]);
    let pieces = "";
    for await (const { tool_call_chunks = [] } of await model.stream(QUESTION))
      for (const { args = "" } of tool_call_chunks) pieces += args;
    expect(pieces).toBe(JSON.stringify(VISIT));
  });
});
