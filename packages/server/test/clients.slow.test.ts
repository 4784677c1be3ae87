// Vercel's AI SDK and LangChain as their users call them, against the command with the real engine on the bundled model.
import type { ChildProcess } from "node:child_process";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { AIMessage, HumanMessage, SystemMessage, type UsageMetadata } from "@langchain/core/messages";
import { ChatOpenAI, OpenAI } from "@langchain/openai";
import {
  APICallError,
  generateText,
  jsonSchema,
  type LanguageModel,
  Output,
  stepCountIs,
  streamText,
  tool,
} from "ai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { serveCommand } from "./harness.ts";

const MODEL = "tiny-english";
const PROMPT =
  "When can I come in? I should like to see the house and the garden, if that is not too early for you.";
let child: ChildProcess;
let baseURL: string;

beforeAll(async () => {
  const started = await serveCommand(["--model", `assets/${MODEL}`, "--max-batch", "4"]);
  child = started.child;
  baseURL = `${started.ready.address}/v1`;
});
afterAll(() => void child.kill("SIGKILL"));

/** A small form, which an untrained model fills in few tokens. */
const visitSchema = z.object({ part: z.enum(["house", "garden"]), isEarly: z.boolean() });

/** A smaller one, since the schemas of tools take most of the model's 512 tokens. */
const partSchema = z.object({ part: z.enum(["house", "garden"]) });

/** What the answer to a plain request is. */
async function expectedText(more: object = {}): Promise<string> {
  const response = await fetch(`${baseURL}/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      model: MODEL,
      messages: [{ role: "user", content: PROMPT }],
      temperature: 0,
      max_tokens: 6,
      ...more,
    }),
  });
  // biome-ignore lint/suspicious/noExplicitAny: tests read answers of any shape
  const json = (await response.json()) as any;
  expect([response.status, json.error]).toEqual([200, undefined]);
  return json.choices[0].message.content;
}

test("penalties and biases change a real answer, and a prefill is continued", async () => {
  const endless = { max_tokens: 40, ignore_eos: true };
  const plain = await expectedText(endless);
  expect(await expectedText({ ...endless, presence_penalty: 2, frequency_penalty: 2 })).not.toBe(plain);
  const only = await expectedText({ max_tokens: 5, ignore_eos: true, logit_bias: { "100": 100 } });
  expect(only.length).toBeGreaterThan(0);
  expect(only).toBe(only.slice(0, only.length / 5).repeat(5));
  const [start = ""] = /^\S+ \S+/.exec(plain) ?? [];
  const messages = [
    { role: "user", content: PROMPT },
    { role: "assistant", content: start },
  ];
  const prefill = { messages, continue_final_message: true, add_generation_prompt: false };
  const rest = await expectedText({ ...prefill, max_tokens: 4 });
  expect(rest.length).toBeGreaterThan(2);
  expect(plain.slice(start.length).startsWith(rest)).toBe(true);
});

describe.each<[string, () => LanguageModel]>([
  ["@ai-sdk/openai", () => createOpenAI({ baseURL, apiKey: "none" }).chat(MODEL)],
  [
    "@ai-sdk/openai-compatible",
    () =>
      createOpenAICompatible({ name: "mos", baseURL, includeUsage: true, supportsStructuredOutputs: true })(
        MODEL,
      ),
  ],
])("the AI SDK with %s", (_, model) => {
  const call = () => ({ model: model(), prompt: PROMPT, temperature: 0, maxOutputTokens: 6, maxRetries: 0 });

  test("generateText answers as a plain request does, with usage that counts the cached prompt", async () => {
    const expected = await expectedText();
    const { text, usage, finishReason, warnings } = await generateText(call());
    expect([text, finishReason]).toEqual([expected, "length"]);
    expect(usage).toMatchObject({ outputTokens: 6, inputTokens: expect.any(Number) });
    expect(usage.inputTokenDetails.cacheReadTokens).toBeGreaterThan(20);
    expect(warnings ?? []).toEqual([]);
  });

  test("streamText gives the same in parts, with usage", async () => {
    const { textStream, usage, finishReason } = streamText(call());
    const parts: string[] = [];
    for await (const part of textStream) parts.push(part);
    expect(parts.length).toBeGreaterThan(3);
    expect([parts.join(""), await finishReason]).toEqual([await expectedText(), "length"]);
    expect(await usage).toMatchObject({ outputTokens: 6 });
  });

  test("the settings and options that it has are accepted", async () => {
    const shared = { user: "user-1", reasoningEffort: "low" };
    const { text } = await generateText({
      ...call(),
      system: "Be brief.",
      topP: 0.9,
      presencePenalty: 0.5,
      frequencyPenalty: 0.5,
      seed: 3,
      stopSequences: ["?!", "\n\n\n", "###", "<|", "Q:"],
      providerOptions: {
        openai: {
          user: "user-1",
          logitBias: { 5: -100 },
          logprobs: 2,
          store: true,
          parallelToolCalls: true,
          metadata: { purpose: "test" },
          serviceTier: "auto",
          promptCacheKey: "k",
          safetyIdentifier: "s",
          textVerbosity: "low",
          promptCacheRetention: "24h",
          prediction: { type: "content", content: "x" },
        },
        mos: { ...shared, textVerbosity: "low", min_tokens: 3, repetition_penalty: 1.1, top_k: -1 },
      },
    });
    expect(text.length).toBeGreaterThan(0);
  });

  test("a conversation goes on with its own messages", async () => {
    const first = await generateText(call());
    const { text } = await generateText({
      model: model(),
      maxRetries: 0,
      maxOutputTokens: 5,
      messages: [
        { role: "user", content: PROMPT },
        ...first.response.messages,
        {
          role: "user",
          content: [
            { type: "text", text: "And" },
            { type: "text", text: " then?" },
          ],
        },
      ],
    });
    expect(text).toEqual(expect.any(String));
  });

  test("errors are API errors with the status and the server's sentence", async () => {
    const tooLong = generateText({ ...call(), maxOutputTokens: 1e6 });
    await expect(tooLong).rejects.toSatisfy(APICallError.isInstance);
    await expect(tooLong).rejects.toMatchObject({
      statusCode: 400,
      isRetryable: false,
      message: expect.stringContaining("maximum context length"),
    });
  });

  test("objects of a schema are enforced, whole and streamed", async () => {
    const request = { ...call(), maxOutputTokens: 120, output: Output.object({ schema: visitSchema }) };
    const { output } = await generateText(request);
    expect(visitSchema.parse(output)).toEqual(output);
    const { partialOutputStream, output: whole } = streamText(request);
    let parts = 0;
    for await (const _ of partialOutputStream) parts++;
    expect(parts).toBeGreaterThan(1);
    expect(await whole).toEqual(output);
  });

  test("tools are called, and their results lead to the next step", async () => {
    const given: unknown[] = [];
    const visit = tool({
      // without the $schema that zod's has, or two steps would not fit into 512 tokens
      inputSchema: jsonSchema<z.output<typeof partSchema>>({
        type: "object",
        properties: { part: { enum: ["house", "garden"] } },
        required: ["part"],
        additionalProperties: false,
      }),
      execute: async (input) => {
        given.push(input);
        return "ok";
      },
    });
    const { steps } = await generateText({
      ...call(),
      prompt: "When?",
      maxOutputTokens: 75,
      tools: { visit },
      toolChoice: "required",
      stopWhen: stepCountIs(2),
      providerOptions: { openai: { parallelToolCalls: false }, mos: { parallel_tool_calls: false } },
    });
    expect(steps.map(({ finishReason }) => finishReason)).toEqual(["tool-calls", "tool-calls"]);
    for (const input of given) expect(partSchema.parse(input)).toEqual(input);
    expect(given).toHaveLength(2);
  });
});

test("the AI SDK's default, the Responses API, gives the same answer as chat", async () => {
  const model = createOpenAI({ baseURL, apiKey: "none" })(MODEL);
  const { text } = await generateText({
    model,
    prompt: PROMPT,
    temperature: 0,
    maxOutputTokens: 16,
    maxRetries: 0,
  });
  expect(text).toBe(await expectedText({ max_tokens: 16 }));
});

describe("LangChain", () => {
  const fields = () => ({
    model: MODEL,
    apiKey: "none",
    configuration: { baseURL },
    maxRetries: 0,
    temperature: 0,
    maxTokens: 6,
  });

  test("invoke answers as a plain request does, with usage", async () => {
    const expected = await expectedText();
    const message = await new ChatOpenAI(fields()).invoke(PROMPT);
    expect(message.content).toBe(expected);
    expect(message.response_metadata).toMatchObject({ finish_reason: "length" });
    expect(message.usage_metadata).toMatchObject({ output_tokens: 6 });
    const usage = message.usage_metadata as UsageMetadata | undefined;
    expect(usage?.input_token_details?.cache_read).toBeGreaterThan(20);
  });

  test("stream gives the same in parts, with usage", async () => {
    let text = "";
    let tokens: number | undefined;
    for await (const chunk of await new ChatOpenAI(fields()).stream(PROMPT)) {
      text += chunk.content;
      const usage = chunk.usage_metadata as UsageMetadata | undefined;
      tokens = usage?.output_tokens ?? tokens;
    }
    expect([text, tokens]).toEqual([await expectedText(), 6]);
  });

  test("batch answers each in its place", async () => {
    const model = new ChatOpenAI(fields());
    const [first, second, third] = await model.batch([PROMPT, "Once", PROMPT]);
    expect(first!.content).toBe(await expectedText());
    expect(third!.content).toBe(first!.content);
    expect(second!.content).not.toBe(first!.content);
  });

  test("the settings that it has are accepted, and a conversation goes on", async () => {
    const model = new ChatOpenAI({
      ...fields(),
      topP: 0.9,
      frequencyPenalty: 0.5,
      presencePenalty: 0.5,
      logitBias: { "5": -100 },
      n: 2,
      stop: ["?!", "###", "<|", "Q:", "A:"],
      user: "user-1",
      logprobs: true,
      topLogprobs: 2,
      service_tier: "auto",
      promptCacheKey: "k",
      verbosity: "low",
      modelKwargs: {
        min_tokens: 2,
        repetition_penalty: 1.1,
        chat_template_kwargs: { enable_thinking: false },
        store: true,
        metadata: { purpose: "test" },
      },
    });
    const message = await model.invoke([
      new SystemMessage("Be brief."),
      new HumanMessage(PROMPT),
      new AIMessage({ content: "At nine.", additional_kwargs: { reasoning_content: "Hm." } }),
      new HumanMessage({ content: [{ type: "text", text: "And then?" }] }),
    ]);
    expect(message.content).toEqual(expect.any(String));
    const entry = expect.objectContaining({ bytes: expect.any(Array) });
    expect(message.response_metadata).toMatchObject({
      logprobs: { content: expect.arrayContaining([entry]) },
    });
  });

  test("completions of its older class", async () => {
    const model = new OpenAI({ ...fields(), frequencyPenalty: 0.5, presencePenalty: 0.5, bestOf: 1 });
    expect((await model.invoke("Once")).length).toBeGreaterThan(0);
  });

  test("errors have the client's types", async () => {
    const unknown = new ChatOpenAI({ ...fields(), model: "nobody" }).invoke(PROMPT);
    await expect(unknown).rejects.toMatchObject({ status: 404, code: "model_not_found", param: "model" });
  });

  test("withStructuredOutput and bindTools give what the schema allows", async () => {
    const model = new ChatOpenAI({ ...fields(), maxTokens: 60 });
    for (const method of ["jsonSchema", "functionCalling"] as const) {
      const output = await model.withStructuredOutput(partSchema, { name: "visit", method }).invoke("When?");
      expect(partSchema.parse(output)).toEqual(output);
    }
    const bound = model.bindTools([{ name: "visit", description: "A visit", schema: partSchema }], {
      tool_choice: "required",
      parallel_tool_calls: false,
    });
    const { tool_calls } = await bound.invoke("When?");
    expect(tool_calls).toEqual([expect.objectContaining({ name: "visit", args: expect.any(Object) })]);
    let pieces = 0;
    for await (const chunk of await bound.stream("When?")) pieces += chunk.tool_call_chunks?.length ?? 0;
    expect(pieces).toBeGreaterThan(3);
  });
});
