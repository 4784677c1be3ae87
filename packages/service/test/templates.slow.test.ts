// Templates of graders that were quadratic, from one tenant while another streams.
import { createReadStream } from "node:fs";
import { expect, test } from "vitest";
import { watchBystander } from "./bystander.ts";
import { startServing } from "./serving.ts";

/** Milliseconds of CPU of the thread that answers, for anybody else. */
const LIMIT = 250;

test("400 kB of {{ in a grader's template, everywhere where one is taken, keep nobody waiting", async () => {
  await using serving = await startServing(["evil", "acme"]);
  const post = async (path: string, body: object) => {
    const response = await fetch(`${serving.address}/v1/${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${serving.keyFor("evil")}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    await response.text();
    return response.status;
  };
  const file = await serving.client("evil").files.create({
    file: createReadStream("assets/quickstart/prompts.jsonl"),
    purpose: "fine-tune",
  });
  const grader = { type: "string_check", name: "g", operation: "eq", reference: "" };
  const seen = await watchBystander(serving, "acme", async () => {
    const statuses: number[] = [];
    for (const input of [
      "{{".repeat(200_000),
      "{{".repeat(145_000),
      `{{item${".a".repeat(145_000)}}}`,
      `{{item["${"\\\\".repeat(70_000)}`,
    ]) {
      const evil = { ...grader, input };
      statuses.push(await post("fine_tuning/alpha/graders/validate", { grader: evil }));
      statuses.push(
        await post("fine_tuning/alpha/graders/run", { grader: evil, item: {}, model_sample: "x" }),
      );
      const short = { ...grader, input: input.slice(0, 140_000) };
      statuses.push(
        await post("fine_tuning/jobs", {
          ...{ model: "tiny", training_file: file.id, validation_file: file.id },
          method: { type: "reinforcement", reinforcement: { grader: short } },
        }),
      );
    }
    return statuses;
  });
  // a grader has at most 300,000 characters; what has no }} is text, and a path that is too long is refused
  const [accepted, refused] = [
    [200, 200, 200],
    [400, 400, 200],
  ];
  expect(seen.result).toEqual([...refused, ...accepted, ...refused, ...accepted]);
  expect(seen.longestGap).toBeLessThan(LIMIT);
  expect(seen.slowestHealth).toBeLessThan(LIMIT);
  expect(seen.tokens).toBeGreaterThan(5);
});
