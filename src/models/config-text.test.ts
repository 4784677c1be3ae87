import { expect, test } from "vitest";
import { configText, huggingFaceConfig } from "./config-json.ts";
import { presetConfig } from "./presets.ts";

test("soft caps have a decimal point, and the text says the same as before", () => {
  const config = huggingFaceConfig(presetConfig("gemma2-2b"), "here");
  const text = configText({ ...config, note: '"final_logit_softcapping": 30,' });
  expect(text).toContain('"attn_logit_softcapping": 50.0,\n');
  expect(text).toContain('"final_logit_softcapping": 30.0,\n');
  expect(text.match(/\d\.0\b/g)).toHaveLength(2);
  expect(JSON.parse(text)).toMatchObject(config);
  expect(configText({ attn_logit_softcapping: 2.5, final_logit_softcapping: null })).not.toMatch(
    /2\.5\.|null\./,
  );
});
