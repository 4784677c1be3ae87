import { test } from "vitest";
import { expectGoldens } from "./greedy-goldens.ts";

const path = process.env["MOS_TEST_MODEL"];

test.skipIf(path === undefined)(
  "SmolLM2-135M from GGUF continues greedily as transformers does (skipped without MOS_TEST_MODEL)",
  { timeout: 300_000 },
  () => expectGoldens(path!, "test/fixtures/smollm2-greedy.json"),
);
