// Templates of graders that were quadratic, from one tenant while another streams.
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
    file: new File(['{"messages":[{"role":"user","content":"Hi"}]}\n'], "prompts.jsonl"),
    purpose: "fine-tune",
  });
  const grader = { type: "string_check", name: "g", operation: "eq", reference: "" };
  const seen = await watchBystander(serving, "acme", async () => {
    const statuses: number[] = [];
    for (const input of [
      "{{".repeat(200_000),
      `{{item${".a".repeat(200_000)}}}`,
      `{{item["${"\\\\".repeat(200_000)}`,
    ]) {
      const evil = { ...grader, input };
      statuses.push(await post("fine_tuning/alpha/graders/validate", { grader: evil }));
      statuses.push(
        await post("fine_tuning/alpha/graders/run", { grader: evil, item: {}, model_sample: "x" }),
      );
      statuses.push(
        await post("fine_tuning/jobs", {
          model: "tiny",
          training_file: file.id,
          method: { type: "reinforcement", reinforcement: { grader: evil } },
        }),
      );
    }
    return statuses;
  });
  // some are templates without a path, others none
  expect(seen.result.filter((status) => status >= 500)).toEqual([]);
  expect(seen.result.filter((status) => status === 200).length).toBeGreaterThanOrEqual(2);
  expect(seen.longestGap).toBeLessThan(LIMIT);
  expect(seen.slowestHealth).toBeLessThan(LIMIT);
  expect(seen.tokens).toBeGreaterThan(5);
});
