// OpenAI's own client, versions 6 and 7: chats with tools and forms, whole and streamed, and the same by the Responses API.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { apiKey, baseURL, MODEL, QUESTION, readVisit, visitJson, visitSchema } from "./served.mjs";

const messages = [{ role: "user", content: QUESTION }];
const chatTool = {
  type: "function",
  function: { name: "visit", description: "Notes a visit", parameters: visitJson, strict: true },
};
const responseTool = {
  type: "function",
  name: "visit",
  description: "Notes a visit",
  parameters: visitJson,
  strict: true,
};

for (const name of ["openai-6", "openai"]) {
  const { OpenAI } = await import(name);
  const { zodFunction, zodResponseFormat, zodResponsesFunction, zodTextFormat } = await import(
    `${name}/helpers/zod`
  );
  const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
  const chat = { model: MODEL, messages, temperature: 0 };
  const response = { model: MODEL, input: QUESTION, temperature: 0 };

  describe(`${name}: chat.completions`, () => {
    test("create: calls of tools, their results and the next answer", async () => {
      const request = { ...chat, tools: [chatTool], tool_choice: "required", parallel_tool_calls: false };
      const { choices } = await client.chat.completions.create(request);
      const { message, finish_reason } = choices[0];
      assert.equal(finish_reason, "tool_calls");
      assert.equal(message.tool_calls.length, 1);
      const [{ id, function: called }] = message.tool_calls;
      assert.equal(called.name, "visit");
      readVisit(called.arguments);
      const next = await client.chat.completions.create({
        ...chat,
        messages: [...messages, message, { role: "tool", tool_call_id: id, content: "noted" }],
        tools: [chatTool],
        tool_choice: { type: "function", function: { name: "visit" } },
      });
      assert.equal(next.choices[0].finish_reason, "stop");
      readVisit(next.choices[0].message.tool_calls[0].function.arguments);
    });

    test("parse: a form, and the arguments of a tool", async () => {
      const formed = await client.chat.completions.parse({
        ...chat,
        response_format: zodResponseFormat(visitSchema, "visit"),
      });
      visitSchema.parse(formed.choices[0].message.parsed);
      const called = await client.chat.completions.parse({
        ...chat,
        tools: [zodFunction({ name: "visit", parameters: visitSchema })],
        tool_choice: "required",
      });
      for (const call of called.choices[0].message.tool_calls)
        visitSchema.parse(call.function.parsed_arguments);
    });

    test("parse: a cut form is LengthFinishReasonError", async () => {
      const cut = client.chat.completions.parse({
        ...chat,
        max_tokens: 3,
        response_format: zodResponseFormat(visitSchema, "visit"),
      });
      await assert.rejects(cut, { name: "Error", message: /length limit/ });
    });

    test("stream: calls arrive in pieces, and are what a whole answer has", async () => {
      const request = { ...chat, tools: [chatTool], tool_choice: "required", parallel_tool_calls: false };
      const stream = client.chat.completions.stream({ ...request, stream_options: { include_usage: true } });
      let pieces = "";
      stream.on("tool_calls.function.arguments.delta", ({ arguments_delta }) => {
        pieces += arguments_delta;
      });
      const { choices, usage } = await stream.finalChatCompletion();
      const whole = await client.chat.completions.create(request);
      const [{ function: called }] = choices[0].message.tool_calls;
      assert.equal(called.arguments, whole.choices[0].message.tool_calls[0].function.arguments);
      assert.equal(pieces, called.arguments);
      assert.equal(choices[0].finish_reason, "tool_calls");
      assert.equal(usage.completion_tokens, whole.usage.completion_tokens);
    });

    test("stream: a form is parsed", async () => {
      const stream = client.chat.completions.stream({
        ...chat,
        response_format: zodResponseFormat(visitSchema, "visit"),
      });
      visitSchema.parse((await stream.finalChatCompletion()).choices[0].message.parsed);
    });

    test("runTools: functions are run for as long as they are called", async () => {
      const seen = [];
      const runner = client.chat.completions.runTools(
        {
          ...chat,
          tools: [
            zodFunction({
              name: "visit",
              parameters: visitSchema,
              function: (visit) => void seen.push(visit),
            }),
          ],
          tool_choice: { type: "function", function: { name: "visit" } },
        },
        { maxChatCompletions: 2 },
      );
      await runner.done();
      assert.ok(seen.length >= 1);
      for (const visit of seen) visitSchema.parse(visit);
    });

    test("custom tools take the text of a grammar", async () => {
      const format = { type: "grammar", grammar: { syntax: "regex", definition: "[a-c]{3}" } };
      const { choices } = await client.chat.completions.create({
        ...chat,
        tools: [{ type: "custom", custom: { name: "code", format } }],
        tool_choice: "required",
        parallel_tool_calls: false,
      });
      assert.match(choices[0].message.tool_calls[0].custom.input, /^[a-c]{3}$/);
    });

    test("allowed_tools, the older functions, and several choices", async () => {
      const other = { type: "function", function: { name: "other" } };
      const allowed_tools = {
        mode: "required",
        tools: [{ type: "function", function: { name: "visit" } }],
      };
      for (const more of [
        { tools: [other, chatTool], tool_choice: { type: "allowed_tools", allowed_tools }, n: 2 },
        { functions: [{ name: "visit", parameters: visitJson }], function_call: { name: "visit" } },
      ]) {
        const { choices } = await client.chat.completions.create({
          ...chat,
          ...more,
          parallel_tool_calls: false,
        });
        assert.equal(choices.length, more.n ?? 1);
        for (const { message } of choices) {
          const called = message.function_call ?? message.tool_calls[0].function;
          assert.equal(called.name, "visit");
          readVisit(called.arguments);
        }
      }
    });

    test("errors name the field and have OpenAI's code", async () => {
      const { BadRequestError } = await import(name);
      const broken = { ...chatTool.function, parameters: { ...visitJson, required: ["part"] } };
      const refused = client.chat.completions.create({
        ...chat,
        tools: [{ type: "function", function: broken }],
      });
      await assert.rejects(refused, (error) => {
        assert.ok(error instanceof BadRequestError);
        assert.equal(error.code, "invalid_function_parameters");
        assert.equal(error.param, "tools[0].function.parameters");
        return true;
      });
    });
  });

  describe(`${name}: responses`, () => {
    test("create: a call, its output and the answer that goes on from a stored response", async () => {
      const request = { ...response, tools: [responseTool], parallel_tool_calls: false };
      const first = await client.responses.create({ ...request, tool_choice: "required" });
      assert.equal(first.status, "completed");
      const [call] = first.output;
      assert.deepEqual([call.type, call.name], ["function_call", "visit"]);
      readVisit(call.arguments);
      const output = { type: "function_call_output", call_id: call.call_id, output: "noted" };
      const next = await client.responses.create({
        ...request,
        input: [output],
        previous_response_id: first.id,
        tool_choice: "none",
        max_output_tokens: 16,
      });
      assert.equal(next.previous_response_id, first.id);
      assert.ok(next.output_text.length > 0);
      const whole = await client.responses.create({
        ...request,
        input: [{ role: "user", content: QUESTION }, ...first.output, output],
        tool_choice: "none",
        max_output_tokens: 16,
      });
      assert.equal(whole.output_text, next.output_text);
    });

    test("parse: a form, and the arguments of a tool", async () => {
      const formed = await client.responses.parse({
        ...response,
        text: { format: zodTextFormat(visitSchema, "visit") },
      });
      visitSchema.parse(formed.output_parsed);
      const called = await client.responses.parse({
        ...response,
        tools: [zodResponsesFunction({ name: "visit", parameters: visitSchema })],
        tool_choice: { type: "function", name: "visit" },
      });
      for (const call of called.output) visitSchema.parse(call.parsed_arguments);
    });

    for (const [what, more] of [
      ["text", { max_output_tokens: 16 }],
      ["a form", { text: { format: zodTextFormat(visitSchema, "visit") } }],
      ["calls", { tools: [responseTool], tool_choice: "required" }],
    ])
      test(`stream: the pieces of ${what} are the final response`, async () => {
        const stream = client.responses.stream({ ...response, ...more });
        let text = "";
        let called = "";
        for await (const event of stream) {
          if (event.type === "response.output_text.delta") text += event.delta;
          if (event.type === "response.function_call_arguments.delta") called += event.delta;
        }
        const final = await stream.finalResponse();
        assert.equal(text, final.output_text);
        assert.equal(called, final.output.map((item) => item.arguments ?? "").join(""));
        assert.notEqual(text + called, "");
        if (what === "a form") visitSchema.parse(final.output_parsed);
      });

    test("create with stream: events are numbered, and the last has the whole response", async () => {
      const events = [];
      for await (const event of await client.responses.create({
        ...response,
        tools: [responseTool],
        tool_choice: "required",
        stream: true,
      }))
        events.push(event);
      assert.deepEqual(
        events.map(({ sequence_number }) => sequence_number),
        events.map((_, i) => i),
      );
      assert.equal(events.at(-1).type, "response.completed");
      assert.deepEqual(events.at(-1).response.output.at(-1).type, "function_call");
    });

    test("the tokens of an input are counted", async () => {
      const { input_tokens } = await client.responses.inputTokens.count({ model: MODEL, input: QUESTION });
      const { usage } = await client.responses.create({ ...response, max_output_tokens: 16 });
      assert.equal(input_tokens, usage.input_tokens);
    });

    test("retrieve, inputItems and delete", async () => {
      const { id, output } = await client.responses.create({ ...response, max_output_tokens: 16 });
      assert.deepEqual((await client.responses.retrieve(id)).output, output);
      const items = [];
      for await (const item of client.responses.inputItems.list(id)) items.push(item);
      assert.equal(items.length, 1);
      await client.responses.delete(id);
      await assert.rejects(client.responses.retrieve(id), { status: 404 });
    });
  });
}
