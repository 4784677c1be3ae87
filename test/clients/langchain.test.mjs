// LangChain: withStructuredOutput and bindTools, by chats and by the Responses API.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { HumanMessage, ToolMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { ChatOpenAI } from "@langchain/openai";
import { apiKey, baseURL, MODEL, QUESTION, visitSchema } from "./served.mjs";

const visit = tool(async () => "noted", { name: "visit", description: "Notes a visit", schema: visitSchema });

for (const useResponsesApi of [false, true]) {
  const fields = { model: MODEL, apiKey, configuration: { baseURL }, maxRetries: 0, temperature: 0 };
  const model = new ChatOpenAI({ ...fields, maxTokens: 200, useResponsesApi });

  describe(`@langchain/openai by ${useResponsesApi ? "responses" : "chat.completions"}`, () => {
    for (const method of ["jsonSchema", "functionCalling"]) {
      test(`withStructuredOutput by ${method}`, async () => {
        const formed = model.withStructuredOutput(visitSchema, { name: "visit", method });
        visitSchema.parse(await formed.invoke(QUESTION));
        const strict = model.withStructuredOutput(visitSchema, { name: "visit", method, strict: true });
        visitSchema.parse(await strict.invoke(QUESTION));
      });
    }

    test("withStructuredOutput by jsonMode is an object", async () => {
      const formed = model.withStructuredOutput(visitSchema, { method: "jsonMode", includeRaw: true });
      const { raw } = await formed.invoke(`${QUESTION} Answer in JSON.`);
      assert.match(raw.text, /^\s*\{/);
    });

    test("bindTools: two rounds, then an answer", async () => {
      // by the Responses API, LangChain leaves "required" out
      const options = { tool_choice: "visit", parallel_tool_calls: false };
      const messages = [new HumanMessage(QUESTION)];
      for (let round = 0; round < 2; round++) {
        const message = await model.bindTools([visit], options).invoke(messages);
        messages.push(message);
        assert.equal(message.tool_calls.length, 1);
        const [call] = message.tool_calls;
        visitSchema.parse(call.args);
        const result = await visit.invoke(call);
        assert.ok(result instanceof ToolMessage);
        messages.push(result);
      }
      const { text } = await model.bindTools([visit], { tool_choice: "none" }).invoke(messages);
      assert.ok(text.length > 0);
    });

    test("bindTools, streamed: calls arrive in pieces", async () => {
      let whole;
      let pieces = 0;
      for await (const chunk of await model.bindTools([visit], { tool_choice: "visit" }).stream(QUESTION)) {
        pieces += chunk.tool_call_chunks?.length ?? 0;
        whole = whole === undefined ? chunk : whole.concat(chunk);
      }
      assert.ok(pieces > 3);
      for (const { name, args } of whole.tool_calls) {
        assert.equal(name, "visit");
        visitSchema.parse(args);
      }
      assert.ok(whole.tool_calls.length >= 1);
    });
  });
}

test("@langchain/openai by responses: its settings, a stored response, and a search that is skipped", async () => {
  const fields = { model: MODEL, apiKey, configuration: { baseURL }, maxRetries: 0, useResponsesApi: true };
  const model = new ChatOpenAI({
    ...fields,
    maxTokens: 16,
    topP: 0.9,
    temperature: 0,
    reasoning: { effort: "low" },
    verbosity: "low",
    promptCacheKey: "k",
    service_tier: "auto",
    user: "u",
    modelKwargs: { metadata: { purpose: "test" } },
  });
  const first = await model.invoke(QUESTION);
  const next = await model.invoke("And then?", { previous_response_id: first.response_metadata.id });
  assert.ok(next.text.length > 0);
  const bare = new ChatOpenAI({ ...fields, zdrEnabled: true, maxTokens: 16, temperature: 0 });
  const tools = [{ type: "web_search_preview" }, visit];
  assert.equal(typeof (await bare.bindTools(tools).invoke(QUESTION)).text, "string");
});
