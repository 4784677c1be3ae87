import { expect, test } from "vitest";
import { CallChecker } from "./call-check.ts";
import { readDataset } from "./dataset.ts";

const parameters = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "integer", minimum: 1 } },
  required: ["city"],
};
const checker = new CallChecker();
async function check(given: unknown, schema: unknown = parameters, weight = 1) {
  const call = { function: { name: "weather", arguments: given } };
  const messages = [
    { role: "user", content: "?" },
    { role: "assistant", tool_calls: [call], weight },
    { role: "tool", content: "rain" },
    { role: "assistant", content: "Rain." },
  ];
  const tools = [{ type: "function", function: { name: "weather", parameters: schema } }];
  const [example] = (await readDataset([{ messages, tools }])).examples;
  return checker.findProblem(example ?? expect.fail());
}

test("calls that a grammar would let the model write are fine, in any order and spelling", async () => {
  for (const given of [
    { city: "Rome" },
    '{"days":2,\n"city":"R\\u00f6me \\ud83d\\ude00"}',
    { days: 1, city: '"' },
  ])
    expect(await check(given)).toBeUndefined();
  expect(await check({}, null)).toBeUndefined();
});

test("others are told with the place where they leave the grammar, unless they are not learnt", async () => {
  expect(await check({ city: "Rome", days: "two" })).toBe(
    'message 2: the arguments of "weather" do not match its schema: after {"city": "Rome", "days": comes "two"}',
  );
  expect(await check({ days: 2 })).toMatch(/^message 2: .*: after \{" comes days": 2\}$/);
  expect(await check({ city: "Rome", more: 1 })).toMatch(/after \{"city": "Rome", " comes more": 1\}$/);
  expect(await check({ city: 1 }, parameters, 0)).toBeUndefined();
});

test("parameters that cannot be enforced are told", async () => {
  expect(await check({}, { type: "object", properties: { a: { type: "text" } } })).toMatch(
    /^message 2: the parameters of "weather" cannot be enforced when the model is served: /,
  );
});
