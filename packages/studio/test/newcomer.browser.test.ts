// Somebody who has read nothing: from an empty studio to an adapter that answers otherwise than its base, by what can be seen.
import { expect, test } from "vitest";
import { openStudio } from "./studio.ts";

/** Two minutes, on two cores that do nothing else, as in CI. */
const SECONDS = 120;
const IS_IDLE = process.env["CI"] !== undefined;
const PATIENCE = IS_IDLE ? SECONDS : 5 * SECONDS;

test(
  "a newcomer fine-tunes on the example data and compares, within two minutes",
  async () => {
    await using studio = await openStudio({ state: true });
    const started = performance.now();
    await studio.click("New run");
    await studio.click("Use the example data");
    await studio.see("validation.jsonl");
    await studio.click("Start run");
    await studio.see(/^succeeded$/i, { seconds: PATIENCE });
    await studio.click("Compare");
    await studio.fill("Message to all models", "When can I come in?");
    await studio.click("Send");
    await studio.see(/I am sorry, I do not know that/);
    await studio.see(/We open at ten/);
    if (IS_IDLE) expect((performance.now() - started) / 1000).toBeLessThan(SECONDS);
  },
  1000 * (PATIENCE + SECONDS),
);
