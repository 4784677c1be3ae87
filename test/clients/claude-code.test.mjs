// A request in the shape that Claude Code sends: system blocks whose first one changes with every request, many tools, hints for
// caches, and far more tokens of the answer than a small model has room for; and its conversation with a tool's result.
import assert from "node:assert/strict";
import { test } from "node:test";
import { baseURL, MODEL } from "./served.mjs";

const cache_control = { type: "ephemeral", ttl: "1h" };
const object = (properties, required) => ({
  $schema: "https://json-schema.org/draft/2020-12/schema",
  type: "object",
  properties,
  required,
  additionalProperties: false,
});
const string = (description) => ({ description, type: "string" });

const tools = [
  {
    name: "Bash",
    description: "Runs a command.",
    input_schema: object(
      {
        command: string("The command"),
        timeout: { description: "In milliseconds", type: "number" },
        run_in_background: { type: "boolean" },
      },
      ["command"],
    ),
    eager_input_streaming: true,
  },
  {
    name: "Grep",
    description: "Searches files.",
    input_schema: object(
      {
        pattern: string("A regular expression"),
        output_mode: { type: "string", enum: ["content", "files_with_matches", "count"] },
        "-i": { type: "boolean" },
      },
      ["pattern"],
    ),
  },
  {
    name: "TodoWrite",
    description: "Notes what is to be done.",
    input_schema: object(
      {
        todos: {
          type: "array",
          items: object(
            {
              content: { type: "string", minLength: 1 },
              status: { type: "string", enum: ["pending", "in_progress", "completed"] },
            },
            ["content", "status"],
          ),
        },
      },
      ["todos"],
    ),
  },
  {
    name: "mcp__notes__read",
    description: "Reads a note.",
    input_schema: object({ part: { type: "string", enum: ["house", "garden"] } }, ["part"]),
    defer_loading: false,
    cache_control,
  },
];

const system = (hash) => [
  {
    type: "text",
    text: `x-anthropic-billing-header: cc_version=2.1.177.01c; cc_entrypoint=cli; cch=${hash};`,
  },
  { type: "text", text: "You are a coding agent.", cache_control },
  { type: "text", text: "\nHelp with what is asked.\n", cache_control },
];

const start = [
  {
    role: "user",
    content: [
      { type: "text", text: "<system-reminder>\nThe folder is /home/kim.\n</system-reminder>\n" },
      { type: "text", text: "What is in the notes?", cache_control: { type: "ephemeral" } },
    ],
  },
];

const post = (path, body) =>
  fetch(`${baseURL}${path}`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      accept: "application/json",
      authorization: "Bearer none",
      "anthropic-version": "2023-06-01",
      "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27",
      "x-app": "cli",
    },
    body: JSON.stringify({ model: MODEL, ...body }),
  });

/** Sends a request, and accumulates its events as Claude Code does. */
async function send({ messages = start, hash = "36ee5", ...more }) {
  const response = await post("/messages?beta=true", {
    messages,
    system: system(hash),
    tools,
    metadata: { user_id: '{"device_id":"0","account_uuid":"","session_id":"1"}' },
    max_tokens: 32_000,
    thinking: { type: "adaptive" },
    context_management: { edits: [{ type: "clear_thinking_20251015", keep: "all" }] },
    output_config: { effort: "medium" },
    stream: true,
    ...more,
  });
  const answer = await response.text();
  assert.equal(response.status, 200, answer);
  const events = answer
    .trim()
    .split("\n\n")
    .map((block) => JSON.parse(block.slice(block.indexOf("data: ") + 6)));
  assert.deepEqual([events[0].type, events.at(-1).type], ["message_start", "message_stop"]);
  const { delta, usage } = events.at(-2);
  const blocks = events
    .filter(({ type }) => type === "content_block_start")
    .map((event) => event.content_block);
  const input = events.map((event) => event.delta?.partial_json ?? "").join("");
  return { blocks, input, usage, ...delta };
}

test("Claude Code: a conversation with all its tools goes on with a result", async () => {
  const tool_choice = { type: "tool", name: "mcp__notes__read" };
  const first = await send({ tool_choice });
  assert.equal(first.stop_reason, "tool_use");
  const [{ id, name }] = first.blocks;
  assert.equal(name, "mcp__notes__read");
  const input = JSON.parse(first.input);
  assert.match(input.part, /^(house|garden)$/);
  const messages = [
    ...start,
    { role: "assistant", content: [{ type: "tool_use", id, name, input }] },
    {
      role: "user",
      content: [{ type: "tool_result", tool_use_id: id, content: "Buy bread.", is_error: false }],
    },
  ];
  const next = await send({ messages, hash: "0aaa9", max_tokens: 16 });
  assert.ok(next.usage.output_tokens > 0);
});

test("Claude Code: what changes with every request is no part of the prompt", async () => {
  const counts = [];
  for (const hash of ["36ee5", "a hash of some more tokens than the other one"]) {
    const response = await post("/messages/count_tokens?beta=true", {
      messages: start,
      system: system(hash),
      tools,
    });
    counts.push((await response.json()).input_tokens);
  }
  assert.ok(counts[0] > 100);
  assert.equal(counts[1], counts[0]);
});
