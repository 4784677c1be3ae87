// Vercel's AI SDK, versions 6 and 7, by its default `openai("…")`, which is the Responses API, and by its providers for Open Responses
// and Anthropic.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenResponses } from "@ai-sdk/open-responses";
import { apiKey, baseURL, MODEL, QUESTION, visitSchema } from "./served.mjs";

const openResponses = createOpenResponses({ name: "mos", url: `${baseURL}/responses`, apiKey });
const { createOpenAI: createOpenAI6 } = await import("@ai-sdk/openai-6");
const { createOpenAI: createOpenAI7 } = await import("@ai-sdk/openai");
const providers = [
  ["ai-6", "@ai-sdk/openai-6", createOpenAI6({ baseURL, apiKey })(MODEL)],
  ["ai", "@ai-sdk/openai", createOpenAI7({ baseURL, apiKey })(MODEL)],
  ["ai", "@ai-sdk/open-responses", openResponses(MODEL)],
  ["ai", "@ai-sdk/anthropic", createAnthropic({ baseURL, apiKey })(MODEL)],
];

for (const [sdk, provider, model] of providers) {
  const { generateObject, generateText, Output, stepCountIs, streamObject, streamText, tool } = await import(
    sdk
  );
  const call = { model, prompt: QUESTION, temperature: 0, maxOutputTokens: 200, maxRetries: 0 };

  /** A tool that notes what it is given. */
  const makeVisit = () => {
    const given = [];
    const execute = async (input) => {
      given.push(visitSchema.parse(input));
      return `noted ${given.length}`;
    };
    return { given, visit: tool({ description: "Notes a visit", inputSchema: visitSchema, execute }) };
  };

  describe(`${sdk} with ${provider}`, () => {
    test("generateText and streamText say the same, with usage", async () => {
      const request = { ...call, maxOutputTokens: 16 };
      const { text, usage, finishReason } = await generateText(request);
      const stream = streamText(request);
      let streamed = "";
      for await (const part of stream.textStream) streamed += part;
      assert.ok(text.length > 0);
      assert.equal(streamed, text);
      assert.equal(await stream.finishReason, finishReason);
      assert.equal((await stream.usage).outputTokens, usage.outputTokens);
    });

    test("generateObject and streamObject", async () => {
      const request = { ...call, schema: visitSchema };
      const { object } = await generateObject(request);
      visitSchema.parse(object);
      const stream = streamObject(request);
      let parts = 0;
      for await (const _ of stream.partialObjectStream) parts++;
      assert.ok(parts > 1);
      assert.deepEqual(await stream.object, object);
    });

    test("Output.object", async () => {
      const { output } = await generateText({ ...call, output: Output.object({ schema: visitSchema }) });
      visitSchema.parse(output);
    });

    test("generateText with tools and stopWhen: three steps, the last without a tool", async () => {
      const { given, visit } = makeVisit();
      const { steps, text } = await generateText({
        ...call,
        tools: { visit },
        toolChoice: "required",
        stopWhen: stepCountIs(3),
        prepareStep: ({ stepNumber }) => (stepNumber < 2 ? {} : { toolChoice: "none" }),
      });
      assert.deepEqual(
        steps.map(({ toolCalls }) => toolCalls.length > 0),
        [true, true, false],
      );
      assert.ok(given.length >= 2);
      assert.ok(text.length > 0);
    });

    test("streamText with tools", async () => {
      const { given, visit } = makeVisit();
      const stream = streamText({
        ...call,
        tools: { visit },
        toolChoice: "required",
        stopWhen: stepCountIs(2),
      });
      let pieces = 0;
      for await (const { type } of stream.fullStream) {
        assert.notEqual(type, "error");
        if (type === "tool-input-delta") pieces++;
      }
      // the provider for Open Responses reads whole calls only
      assert.ok(pieces > (provider === "@ai-sdk/open-responses" ? -1 : 3));
      assert.ok(given.length >= 2);
    });

    test("a conversation goes on with its own messages, by reference where they are stored", async () => {
      const { given, visit } = makeVisit();
      const more = { tools: { visit }, toolChoice: "required" };
      const { prompt, ...rest } = call;
      const messages = [{ role: "user", content: prompt }];
      for (const settings of [{ toolChoice: "none" }, more, { toolChoice: "none" }]) {
        const { response } = await generateText({ ...rest, messages, tools: { visit }, ...settings });
        messages.push(...response.messages, { role: "user", content: "And then?" });
      }
      assert.ok(given.length >= 1);
    });

    test("errors have the status and the server's sentence", async () => {
      await assert.rejects(generateText({ ...call, prompt: "so ".repeat(9000) }), (error) => {
        assert.equal(error.statusCode, 400);
        assert.match(error.message, /context length/);
        return true;
      });
    });
  });
}

for (const [sdk, openai] of [
  ["ai-6", createOpenAI6({ baseURL, apiKey })],
  ["ai", createOpenAI7({ baseURL, apiKey })],
]) {
  const { generateText, Output, stepCountIs, tool, ToolLoopAgent } = await import(sdk);
  const model = openai(MODEL);
  const call = { model, prompt: QUESTION, temperature: 0, maxOutputTokens: 200, maxRetries: 0 };
  const visit = tool({
    description: "Notes a visit",
    inputSchema: visitSchema,
    execute: async () => "noted",
  });

  describe(`${sdk}: what OpenAI's provider has of its own`, () => {
    test("the options are accepted", async () => {
      const shared = {
        metadata: { purpose: "test" },
        parallelToolCalls: false,
        serviceTier: "auto",
        user: "u",
      };
      for (const options of [
        { ...shared, textVerbosity: "low", promptCacheKey: "k", safetyIdentifier: "s", maxToolCalls: 3 },
        { promptCacheRetention: "24h", instructions: "Be brief.", logprobs: 2, strictJsonSchema: true },
        { forceReasoning: true, reasoningEffort: "low", reasoningSummary: "auto", store: false },
        { systemMessageMode: "developer", include: ["reasoning.encrypted_content"] },
      ]) {
        const request = { ...call, maxOutputTokens: 16, system: "Be brief.", topP: 0.9 };
        const { text } = await generateText({ ...request, providerOptions: { openai: options } });
        assert.equal(typeof text, "string");
      }
    });

    test("a conversation without a store sends its items whole", async () => {
      const messages = [{ role: "user", content: QUESTION }];
      for (const toolChoice of ["required", "none", "none"]) {
        const { prompt, ...rest } = call;
        const settings = { toolChoice, tools: { visit }, providerOptions: { openai: { store: false } } };
        const { response } = await generateText({ ...rest, ...settings, messages });
        messages.push(...response.messages, { role: "user", content: "And then?" });
      }
    });

    test("previousResponseId goes on, with steps of tools, too", async () => {
      const first = await generateText({ ...call, maxOutputTokens: 16 });
      const previousResponseId = first.providerMetadata.openai.responseId;
      const { steps } = await generateText({
        ...call,
        tools: { visit },
        toolChoice: "required",
        stopWhen: stepCountIs(2),
        providerOptions: { openai: { previousResponseId } },
      });
      assert.equal(steps.length, 2);
    });

    test("a search of the web is skipped beside a function", async () => {
      const tools = { visit, web: openai.tools.webSearch({}) };
      const { toolCalls } = await generateText({
        ...call,
        tools,
        toolChoice: { type: "tool", toolName: "visit" },
      });
      for (const { toolName } of toolCalls) assert.equal(toolName, "visit");
      assert.ok(toolCalls.length >= 1);
    });

    test("a custom tool takes the text of a grammar in Lark", async () => {
      const format = { type: "grammar", syntax: "lark", definition: 'start: "a" /[bc]/' };
      const note = openai.tools.customTool({ name: "note", description: "Notes", format });
      const { toolCalls } = await generateText({ ...call, tools: { note }, toolChoice: "required" });
      assert.match(toolCalls[0].input, /^a[bc]$/);
    });

    test("a choice, and an agent", async () => {
      const { output } = await generateText({ ...call, output: Output.choice({ options: ["a", "b"] }) });
      assert.match(output, /^[ab]$/);
      const settings = { model, tools: { visit }, toolChoice: "required", stopWhen: stepCountIs(2) };
      const agent = new ToolLoopAgent({ ...settings, temperature: 0, maxOutputTokens: 200 });
      assert.equal((await agent.generate({ prompt: QUESTION })).steps.length, 2);
    });

    test("an image is refused by its place", async () => {
      const image = { type: "image", image: "data:image/png;base64,iVBORw0KGgo=" };
      const messages = [{ role: "user", content: [{ type: "text", text: "What?" }, image] }];
      await assert.rejects(generateText({ model, messages, maxRetries: 0 }), {
        statusCode: 400,
        message: /^input\[0\]\.content\[1\] is an image/,
      });
    });
  });
}

test("the AI SDK's default refers to what is stored by item_reference", async () => {
  const bodies = [];
  const spied = (url, init) => {
    bodies.push(JSON.parse(init.body));
    return fetch(url, init);
  };
  const { generateText } = await import("ai");
  const model = createOpenAI7({ baseURL, apiKey, fetch: spied })(MODEL);
  const messages = [{ role: "user", content: QUESTION }];
  const first = await generateText({ model, messages, temperature: 0, maxOutputTokens: 16 });
  messages.push(...first.response.messages, { role: "user", content: "And then?" });
  await generateText({ model, messages, temperature: 0, maxOutputTokens: 16 });
  assert.deepEqual(
    bodies[1].input.map(({ type, role }) => type ?? role),
    ["user", "item_reference", "user"],
  );
});
