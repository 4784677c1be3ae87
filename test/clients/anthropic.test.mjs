// Anthropic's own client: messages whole and streamed, tools and forms, tokens, and errors in its own classes.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import Anthropic, { BadRequestError, NotFoundError } from "@anthropic-ai/sdk";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";
import { apiKey, baseURL, MODEL, QUESTION, visitJson, visitSchema } from "./served.mjs";

// it adds /v1 itself
const client = new Anthropic({ baseURL: new URL("/", baseURL).href, apiKey, maxRetries: 0 });
const messages = [{ role: "user", content: QUESTION }];
const request = { model: MODEL, max_tokens: 200, temperature: 0, messages };
const tools = [
  { name: "visit", description: "Notes a visit", input_schema: visitJson },
  { name: "leave", input_schema: { type: "object", properties: {}, additionalProperties: false } },
];

describe("@anthropic-ai/sdk", () => {
  test("create and stream say the same, with usage, and the tokens that count_tokens says", async () => {
    const system = [{ type: "text", text: "Be brief.", cache_control: { type: "ephemeral" } }];
    const short = { ...request, system, max_tokens: 3, metadata: { user_id: "u" } };
    const whole = await client.messages.create(short);
    assert.equal(whole.stop_reason, "max_tokens");
    assert.equal(whole.usage.output_tokens, 3);
    assert.match(whole._request_id, /^req_/);
    let text = "";
    const stream = client.messages.stream(short).on("text", (piece) => {
      text += piece;
    });
    const final = await stream.finalMessage();
    assert.equal(text, whole.content[0].text);
    assert.deepEqual(final.content, whole.content);
    const { max_tokens: _, metadata: __, temperature: ___, ...counted } = short;
    const { input_tokens } = await client.messages.countTokens(counted);
    for (const { usage } of [whole, final])
      assert.equal(usage.input_tokens + usage.cache_read_input_tokens, input_tokens);
  });

  test("a tool is called, whole and in pieces, and the conversation goes on with its result", async () => {
    const tool_choice = { type: "tool", name: "visit", disable_parallel_tool_use: true };
    const first = await client.messages.create({ ...request, tools, tool_choice });
    assert.equal(first.stop_reason, "tool_use");
    const [call] = first.content;
    visitSchema.parse(call.input);
    const stream = client.messages.stream({ ...request, tools, tool_choice });
    let pieces = "";
    stream.on("inputJson", (piece) => {
      pieces += piece;
    });
    const [streamed] = (await stream.finalMessage()).content;
    assert.deepEqual(JSON.parse(pieces), call.input);
    assert.deepEqual(streamed.input, call.input);
    const result = { type: "tool_result", tool_use_id: call.id, content: "noted" };
    const next = await client.messages.create({
      ...request,
      tools,
      tool_choice: { type: "any" },
      messages: [
        ...messages,
        { role: "assistant", content: first.content },
        { role: "user", content: [result, { type: "text", text: "And again" }] },
      ],
    });
    assert.equal(next.stop_reason, "tool_use");
    const last = await client.messages.create({
      ...request,
      tools,
      tool_choice: { type: "none" },
      max_tokens: 8,
    });
    assert.ok(last.content.every(({ type }) => type === "text"));
  });

  test("parse: a form, which the beginning of the answer may be given of", async () => {
    const { parsed_output } = await client.messages.parse({
      ...request,
      output_config: { format: zodOutputFormat(visitSchema), effort: "low" },
      thinking: { type: "disabled" },
    });
    visitSchema.parse(parsed_output);
    const begun = { role: "assistant", content: "You can" };
    const { content } = await client.messages.create({
      ...request,
      max_tokens: 8,
      messages: [...messages, begun],
    });
    assert.equal(content.length, 1);
  });

  test("stop sequences are told", async () => {
    const free = await client.messages.create({ ...request, max_tokens: 16 });
    const word = free.content[0].text.trim().split(" ").at(-1);
    const { stop_reason, stop_sequence } = await client.messages.create({
      ...request,
      max_tokens: 16,
      stop_sequences: ["never", word],
    });
    assert.deepEqual([stop_reason, stop_sequence], ["stop_sequence", word]);
  });

  test("errors are of its own classes, whole and streamed, with their type and code", async () => {
    for (const stream of [false, true])
      await assert.rejects(client.messages.create({ ...request, model: "none", stream }), (error) => {
        assert.ok(error instanceof NotFoundError);
        assert.equal(error.type, "not_found_error");
        assert.equal(error.errorCode, "model_not_found");
        assert.match(error.requestID, /^req_/);
        return true;
      });
    const image = { type: "image", source: { type: "url", url: "https://example.com/a.png" } };
    await assert.rejects(
      client.messages.create({ ...request, messages: [{ role: "user", content: [image] }] }),
      (error) => error instanceof BadRequestError && error.apiMessage.includes('"image"'),
    );
    await assert.rejects(
      client.messages.create({ ...request, tools: [{ type: "web_search_20250305", name: "web_search" }] }),
      (error) => error instanceof BadRequestError && error.apiMessage.includes("web_search_20250305"),
    );
    await assert.rejects(
      client.messages.create({ ...request, messages: [{ role: "user", content: "so ".repeat(9000) }] }),
      (error) => error instanceof BadRequestError && error.apiMessage.startsWith("prompt is too long"),
    );
    await assert.rejects(
      client.messages.batches.list(),
      (error) => error instanceof NotFoundError && error.apiMessage.includes("batches"),
    );
  });
});
