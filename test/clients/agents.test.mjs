// OpenAI's Agents SDK: an agent that uses tools twice before it answers, over both APIs, whole and streamed; handoffs and a form.
// The model cannot decide when to use which tool, so the settings demand one each time, until the agent's last tool ends the run.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  Agent,
  codeInterpreterTool,
  fileSearchTool,
  hostedMcpTool,
  MemorySession,
  OpenAIProvider,
  Runner,
  tool,
  webSearchTool,
} from "@openai/agents";
import { z } from "zod";
import { apiKey, baseURL, MODEL, QUESTION, visitSchema } from "./served.mjs";

/** An agent with one tool, which it must use; the second time ends the run. */
function makeAgent(given) {
  const visit = tool({
    name: "visit",
    description: "Notes a visit",
    parameters: visitSchema,
    execute: async (input) => {
      given.push(visitSchema.parse(input));
      return `noted ${given.length}`;
    },
  });
  return new Agent({
    name: "Warden",
    instructions: "Note visits.",
    tools: [visit],
    modelSettings: { toolChoice: "required", parallelToolCalls: false, temperature: 0, maxTokens: 200 },
    resetToolChoice: false,
    toolUseBehavior: () =>
      given.length < 2
        ? { isFinalOutput: false }
        : { isFinalOutput: true, isInterrupted: undefined, finalOutput: `noted ${given.length}` },
  });
}

for (const useResponses of [true, false]) {
  const modelProvider = new OpenAIProvider({ baseURL, apiKey, useResponses });
  const runner = new Runner({ model: MODEL, modelProvider, tracingDisabled: true });

  describe(`@openai/agents by ${useResponses ? "responses" : "chat.completions"}`, () => {
    test("two rounds of tools", async () => {
      const given = [];
      const { finalOutput, newItems, rawResponses } = await runner.run(makeAgent(given), QUESTION);
      assert.equal(finalOutput, "noted 2");
      assert.equal(rawResponses.length, 2);
      assert.deepEqual(
        newItems.map(({ type }) => type),
        ["tool_call_item", "tool_call_output_item", "tool_call_item", "tool_call_output_item"],
      );
    });

    test("two rounds of tools, streamed", async () => {
      const given = [];
      const result = await runner.run(makeAgent(given), QUESTION, { stream: true });
      let events = 0;
      for await (const _ of result) events++;
      await result.completed;
      assert.ok(events > 10);
      assert.equal(result.finalOutput, "noted 2");
    });

    test("tools twice, then an answer without any", async () => {
      const given = [];
      const agent = makeAgent(given).clone({ toolUseBehavior: "run_llm_again" });
      const first = await runner.run(agent.clone({ toolUseBehavior: "stop_on_first_tool" }), QUESTION);
      const second = await runner.run(agent.clone({ toolUseBehavior: "stop_on_first_tool" }), [
        ...first.history,
        { role: "user", content: "And again" },
      ]);
      const last = await runner.run(
        agent.clone({
          // a cut answer is an error of the SDK's
          outputType: visitSchema,
          modelSettings: { toolChoice: "none", temperature: 0, maxTokens: 200 },
        }),
        [...second.history, { role: "user", content: "And then?" }],
      );
      assert.equal(given.length, 2);
      visitSchema.parse(last.finalOutput);
    });

    test("an answer of a form", async () => {
      const agent = new Agent({
        name: "Reader",
        instructions: "Read.",
        outputType: visitSchema,
        modelSettings: { temperature: 0, maxTokens: 200 },
      });
      const { finalOutput } = await runner.run(agent, QUESTION);
      visitSchema.parse(finalOutput);
    });

    test("a session goes on with the answers in it", async () => {
      const session = new MemorySession();
      const agent = new Agent({ name: "Talker", instructions: "Be brief.", outputType: visitSchema });
      await runner.run(agent, QUESTION, { session });
      await runner.run(agent, "And then?", { session });
      assert.equal((await session.getItems()).length, 4);
    });

    test("the settings that it has are accepted", async () => {
      const agent = new Agent({
        name: "Talker",
        instructions: "Be brief.",
        outputType: visitSchema,
        tools: [tool({ name: "f", description: "", parameters: visitSchema, execute: async () => "" })],
        modelSettings: {
          temperature: 0.5,
          topP: 0.9,
          frequencyPenalty: 0.1,
          presencePenalty: 0.1,
          toolChoice: "none",
          parallelToolCalls: false,
          truncation: "disabled",
          maxTokens: 200,
          store: true,
          reasoning: { effort: "low", summary: "auto" },
          text: { verbosity: "low" },
          promptCacheRetention: "24h",
          providerData: { metadata: { purpose: "test" } },
        },
      });
      visitSchema.parse((await runner.run(agent, QUESTION)).finalOutput);
    });

    test("an agent is another one's tool", async () => {
      const inner = new Agent({ name: "Inner", instructions: "Answer.", outputType: visitSchema });
      const agent = makeAgent([]).clone({
        tools: [inner.asTool({ toolName: "ask", toolDescription: "Ask", parameters: visitSchema })],
        toolUseBehavior: "stop_on_first_tool",
      });
      visitSchema.parse(JSON.parse((await runner.run(agent, QUESTION)).finalOutput));
    });

    test("an agent hands over to another one, which answers", async () => {
      const guide = new Agent({
        name: "Guide",
        instructions: "Guide.",
        outputType: z.object({ part: z.enum(["house", "garden"]) }),
        modelSettings: { temperature: 0, maxTokens: 200 },
      });
      const agent = new Agent({
        name: "Door",
        instructions: "Hand over.",
        handoffs: [guide],
        modelSettings: { toolChoice: "required", parallelToolCalls: false, temperature: 0, maxTokens: 200 },
      });
      const { finalOutput, lastAgent } = await runner.run(agent, QUESTION);
      assert.equal(lastAgent.name, "Guide");
      assert.match(finalOutput.part, /^(house|garden)$/);
    });
  });
}

test("@openai/agents: a stored response is continued by its id", async () => {
  const modelProvider = new OpenAIProvider({ baseURL, apiKey, useResponses: true });
  const runner = new Runner({ model: MODEL, modelProvider, tracingDisabled: true });
  const agent = new Agent({
    name: "Talker",
    instructions: "Be brief.",
    outputType: visitSchema,
    modelSettings: { temperature: 0, maxTokens: 200 },
  });
  const first = await runner.run(agent, QUESTION);
  const second = await runner.run(agent, "And then?", { previousResponseId: first.lastResponseId });
  assert.notEqual(second.lastResponseId, first.lastResponseId);
  visitSchema.parse(second.finalOutput);
});

test("@openai/agents: tools that OpenAI runs are skipped beside others", async () => {
  const modelProvider = new OpenAIProvider({ baseURL, apiKey, useResponses: true });
  const runner = new Runner({ model: MODEL, modelProvider, tracingDisabled: true });
  const agent = makeAgent([]);
  const hosted = [
    webSearchTool(),
    fileSearchTool(["vs_1"]),
    codeInterpreterTool(),
    hostedMcpTool({ serverLabel: "notes", serverUrl: "https://example.com/mcp" }),
  ];
  const result = await runner.run(
    agent.clone({ tools: [...agent.tools, ...hosted], toolUseBehavior: "stop_on_first_tool" }),
    QUESTION,
  );
  assert.equal(result.finalOutput, "noted 1");
});
