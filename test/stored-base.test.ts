import { expect, test } from "vitest";
import { compareStored } from "./stored-base.ts";

const path = process.env["MOS_TEST_MODEL"];

test.skipIf(path === undefined)(
  "SmolLM2 as its file stores it has the logits, loss and gradients of its float32 expansion (skipped without MOS_TEST_MODEL)",
  { timeout: 300_000 },
  async () => {
    // "A lighthouse shows ships where they are."
    const { loss, differences } = await compareStored(path!, [49, 335, 4168, 7086, 5283, 837, 502, 359, 30]);
    expect(loss).toBeGreaterThan(1);
    for (const [what, share] of Object.entries(differences)) expect(share, what).toBeLessThan(1e-4);
  },
);
