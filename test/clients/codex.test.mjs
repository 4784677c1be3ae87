// Requests in the shape that Codex sends, and its reading of the events: instructions, tools of every type that it lists, and a
// conversation that it keeps itself.
import assert from "node:assert/strict";
import { test } from "node:test";
import { baseURL, MODEL } from "./served.mjs";

/** A grammar in Lark with the features that Codex's own one for patches has. */
const PATCH = `start: begin change+ end
begin: "*** Begin" LF
end: "*** End" LF?
change: add | remove
add: "*** Add: " name LF line+
remove: "*** Remove: " name LF
name: /[a-z]{1,8}/
line: "+" /[a-z ]{0,8}/ LF -> line

%import common.LF
`;

const string = (description) => ({ type: "string", description });
const object = (properties, required) => ({
  type: "object",
  properties,
  required,
  additionalProperties: false,
});

const tools = [
  {
    type: "function",
    name: "exec_command",
    description: "Runs a command.",
    strict: false,
    parameters: object({ cmd: string("The command"), yield_time_ms: { type: "number" } }, ["cmd"]),
  },
  {
    type: "function",
    name: "update_plan",
    description: "Updates the plan.",
    strict: false,
    parameters: object(
      {
        explanation: { type: "string" },
        plan: {
          type: "array",
          items: object({ step: { type: "string" }, status: string("pending or completed") }, [
            "step",
            "status",
          ]),
        },
      },
      ["plan"],
    ),
  },
  {
    type: "custom",
    name: "apply_patch",
    description: "Edits files.",
    format: { type: "grammar", syntax: "lark", definition: PATCH },
  },
  { type: "web_search", external_web_access: false, search_content_types: ["text", "image"] },
  { type: "image_generation", output_format: "png" },
  {
    type: "namespace",
    name: "mcp__notes",
    description: "Notes",
    tools: [
      {
        type: "function",
        name: "read",
        description: "Reads a note.",
        strict: false,
        parameters: object({ part: { enum: ["house", "garden"] } }, ["part"]),
      },
    ],
  },
];

/** Codex sends no such limit; but the model does not find an end after a prompt that is longer than any that it has learned. */
const SHORT = { max_output_tokens: 16 };

const text = (role, words) => ({
  type: "message",
  role,
  content: [{ type: role === "assistant" ? "output_text" : "input_text", text: words }],
});

const start = [
  text("developer", "<permissions instructions>The sandbox is read-only.</permissions instructions>"),
  text(
    "user",
    "<environment_context>\n  <cwd>/home/kim</cwd>\n  <shell>bash</shell>\n</environment_context>",
  ),
  text("user", "What is in the notes?"),
];

const request = (input, more = {}) => ({
  model: MODEL,
  instructions: "You are a coding agent.",
  input,
  tools,
  tool_choice: "auto",
  parallel_tool_calls: false,
  reasoning: { effort: "medium", summary: "auto" },
  store: false,
  stream: true,
  include: ["reasoning.encrypted_content"],
  service_tier: "auto",
  prompt_cache_key: "019a2b3c-0000-7000-8000-000000000000",
  text: { verbosity: "medium" },
  client_metadata: { "x-codex-installation-id": "1" },
  ...more,
});

/** Sends a request, and reads its events as Codex does: only the items that are done, and the end, which must come. */
async function send(body) {
  const response = await fetch(`${baseURL}/responses`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      accept: "text/event-stream",
      authorization: "Bearer none",
      originator: "codex_cli_rs",
      session_id: "019a2b3c",
    },
    body: JSON.stringify(body),
  });
  const answer = await response.text();
  assert.equal(response.status, 200, answer);
  const events = answer
    .trim()
    .split("\n\n")
    .map((block) => JSON.parse(block.slice(block.indexOf("data: ") + 6)));
  assert.equal(events[0].type, "response.created");
  const { type, response: whole } = events.at(-1);
  const isCut = type === "response.incomplete" && body.max_output_tokens !== undefined;
  assert.ok(isCut || type === "response.completed", type);
  for (const count of ["input_tokens", "output_tokens", "total_tokens"])
    assert.ok(Number.isInteger(whole.usage[count]), count);
  const items = events.filter((event) => event.type === "response.output_item.done").map(({ item }) => item);
  return { items, events, skipped: response.headers.get("x-skipped-tools") };
}

test("Codex: a request with all its tools is answered; those that OpenAI runs are skipped", async () => {
  const { items, skipped } = await send(request(start, SHORT));
  assert.ok(items.length > 0);
  assert.equal(skipped, "web_search, image_generation");
});

test("Codex: a tool of a namespace is called by its own name, and the conversation goes on with the result", async () => {
  const chosen = {
    type: "allowed_tools",
    mode: "required",
    tools: [{ type: "function", name: "mcp__notes__read" }],
  };
  const { items } = await send(request(start, { tool_choice: chosen }));
  const [call] = items;
  assert.deepEqual([call.type, call.name, call.namespace], ["function_call", "read", "mcp__notes"]);
  assert.match(JSON.parse(call.arguments).part, /^(house|garden)$/);
  const reasoning = { type: "reasoning", summary: [], content: null, encrypted_content: null };
  const output = [{ type: "input_text", text: "Buy bread." }];
  const result = { type: "function_call_output", call_id: call.call_id, output };
  const next = await send(request([...start, reasoning, ...items, result], SHORT));
  assert.ok(next.items.length > 0);
});

test("Codex: a custom tool writes what its grammar in Lark allows, and its result is read", async () => {
  const chosen = { tool_choice: { type: "custom", name: "apply_patch" } };
  const { items, events } = await send(request(start, { ...chosen }));
  const [call] = items;
  assert.deepEqual([call.type, call.name], ["custom_tool_call", "apply_patch"]);
  assert.match(
    call.input,
    /^\*\*\* Begin\n(\*\*\* (Add: [a-z]{1,8}\n(\+[a-z ]{0,8}\n)+|Remove: [a-z]{1,8}\n))+\*\*\* End\n?$/,
  );
  const deltas = events.filter(({ type }) => type === "response.custom_tool_call_input.delta");
  assert.equal(deltas.map(({ delta }) => delta).join(""), call.input);
  const result = { type: "custom_tool_call_output", call_id: call.call_id, output: "Success." };
  const next = await send(request([...start, ...items, result], SHORT));
  assert.ok(next.items.length > 0);
});
