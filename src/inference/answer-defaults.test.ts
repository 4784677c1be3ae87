import { describe, expect, test } from "vitest";
import type { GenerationConfig } from "#text";
import { answerDefaults } from "./engine-options.ts";
import { samplingBy } from "./sampler.ts";

const WHERE = "models/tiny/generation_config.json";
const model = (more: Partial<GenerationConfig> = {}): GenerationConfig => ({
  where: WHERE,
  sampling: {},
  endTokens: [],
  ...more,
});

test("a request comes before an option, an option before the model", () => {
  const makers = model({ sampling: { temperature: 0.6, topP: 0.9, topK: 50 }, maxTokens: 100 });
  const defaults = answerDefaults({ topP: 0.8, presencePenalty: 0.5 }, makers);
  expect(defaults).toEqual({
    sampling: { temperature: 0.6, topP: 0.8, topK: 50, presencePenalty: 0.5 },
    maxTokens: 100,
    sources: { temperature: WHERE, topP: "option", topK: WHERE, presencePenalty: "option", maxTokens: WHERE },
  });
  expect(samplingBy(defaults, { topK: 7, minP: undefined })).toEqual({ ...defaults.sampling, topK: 7 });
  expect(answerDefaults({ generationConfig: "none", maxTokens: 5 }, makers)).toEqual({
    sampling: {},
    maxTokens: 5,
    sources: { maxTokens: "option" },
  });
});

describe("without a temperature", () => {
  const none = answerDefaults({}, model());
  test.each([
    [{}, 0],
    [{ topP: 1, topK: 0, minP: 0, repetitionPenalty: 1.3 }, 0],
    [{ topP: 0.9 }, 1],
    [{ topK: 40 }, 1],
    [{ minP: 0.05 }, 1],
    [{ temperature: 0, topP: 0.9 }, 0],
  ])("%j is sampled at %d", (given, temperature) => {
    expect(samplingBy(none, given).temperature).toBe(temperature);
  });
});

test("numbers out of range are refused, by the name of the option or the model's file", () => {
  expect(() => answerDefaults({ temperature: -1 }, model())).toThrow(/^temperature: -1 is invalid/);
  for (const broken of [{ sampling: { minP: 2 } }, { sampling: { minP: "2" } }, { maxTokens: 0 }]) {
    expect(() => answerDefaults({}, model(broken))).toThrow(
      /^models\/tiny\/generation_config\.json: (minP|maxTokens)/,
    );
    expect(answerDefaults({ generationConfig: "none" }, model(broken)).sampling).toEqual({});
    expect(answerDefaults({ minP: 0.1, maxTokens: 7 }, model(broken))).toMatchObject({
      sampling: { minP: 0.1 },
      maxTokens: 7,
    });
  }
});
