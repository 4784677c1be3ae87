import { describe, expect, test } from "vitest";
import { checkSettings, NO_SETTINGS, readSchema, readTools, type Settings, toRequest } from "./settings.ts";

const question = { model: "base", messages: [{ role: "user" as const, content: "Hi" }], seed: 7 };
const ask = (settings: Partial<Settings>) => toRequest({ ...NO_SETTINGS, ...settings }, question);

describe("a request", () => {
  test("leaves out what is not set", () => {
    expect(ask({})).toEqual({
      path: "/v1/chat/completions",
      body: {
        model: "base",
        messages: question.messages,
        seed: 7,
        stream: true,
        stream_options: { include_usage: true },
      },
    });
  });

  test("has the sampling, the tools, the schema and log-probabilities", () => {
    const { body } = ask({
      temperature: 0,
      topP: 0.5,
      maxTokens: 9,
      tools: '{"name": "weather"}',
      schema: '{"type": "object"}',
      logprobs: true,
    });
    expect(body).toMatchObject({
      temperature: 0,
      top_p: 0.5,
      max_tokens: 9,
      tools: [{ type: "function", function: { name: "weather" } }],
      response_format: { type: "json_schema", json_schema: { name: "answer", schema: { type: "object" } } },
      logprobs: true,
      top_logprobs: 5,
    });
  });

  test("of a text continues it", () => {
    const { path, body } = ask({ mode: "text", logprobs: true, tools: '{"name": "weather"}' });
    expect(path).toBe("/v1/completions");
    expect(body).toMatchObject({ prompt: "Hi", logprobs: 5, max_tokens: 200 });
    expect(body).not.toHaveProperty("tools");
    expect(body).not.toHaveProperty("messages");
  });
});

describe("settings", () => {
  test("are checked", () => {
    const problems = checkSettings({
      ...NO_SETTINGS,
      temperature: 3,
      maxTokens: 1.5,
      topP: 1,
      tools: "{",
      schema: "[]",
    });
    expect(Object.keys(problems)).toEqual(["temperature", "maxTokens", "tools", "schema"]);
    expect(problems.temperature).toBe("3 is not a number from 0 to 2");
    expect(problems.tools).toContain("This is not JSON");
    expect(checkSettings(NO_SETTINGS)).toEqual({});
  });

  test("take tools in OpenAI's form, alone, in a list, and of the Responses API", () => {
    const wanted = [{ type: "function", function: { name: "f" } }];
    for (const text of [
      '[{"type": "function", "function": {"name": "f"}}]',
      '{"function": {"name": "f"}}',
      '{"type": "function", "name": "f"}',
    ])
      expect(readTools(text)).toEqual({ value: wanted });
    expect(readTools(" ")).toEqual({});
    expect(readTools("[]")).toEqual({});
    expect(readTools("[3]")).toEqual({ problem: "Tool 1 is not an object" });
    expect(readTools('[{"title": "f"}]').problem).toContain("neither");
  });

  test("take a schema in OpenAI's form, too", () => {
    expect(readSchema('{"name": "x", "schema": {"type": "string"}}')).toEqual({ value: { type: "string" } });
    expect(readSchema("3").problem).toContain("A schema is an object");
  });
});
