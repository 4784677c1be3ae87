import { expect, test } from "vitest";
import { loadModel } from "#models";
import { validationLoss } from "./validation.ts";

test("the loss of more examples than a call takes arguments is measured until it is stopped", {
  tags: "thorough",
}, async () => {
  const base = await loadModel("assets/tiny-english");
  const data = Array.from({ length: 150_000 }, (_, line) => ({ kind: "text", line, text: "Hi" }) as const);
  const stop = new AbortController();
  // read when all examples are encoded and the first batch is due
  const session = {
    get threads() {
      stop.abort();
      return 1;
    },
  };
  const settings = {
    maxLength: 512,
    promptFormat: "template",
    system: undefined,
    batchSize: 4,
    packing: true,
  } as const;
  await expect(validationLoss(base, data, { settings, session, signal: stop.signal })).rejects.toMatchObject({
    code: "cancelled",
  });
});
