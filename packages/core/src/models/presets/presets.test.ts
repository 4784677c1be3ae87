import { expect, test } from "vitest";
import { checkConfig } from "../config.ts";
import { weightShapes } from "../weights.ts";
import { PRESET_NAMES, type PresetName, presetConfig } from "./index.ts";

const parameters = (name: string): number =>
  [...weightShapes(presetConfig(name)).values()].reduce(
    (sum, shape) => sum + shape.reduce((a, b) => a * b, 1),
    0,
  );

/** Of the language model, where the model also sees or predicts a second token; some as transformers counts them. */
const published: Readonly<Record<PresetName, number>> = {
  "qwen3.5-0.8b": 752393024,
  "qwen3.5-2b": 1881825088,
  "qwen3.5-4b": 4205751296,
  "qwen3.5-9b": 8953803264,
  "qwen3.5-27b": 26895998464,
  "gemma4-e2b": 4628569379,
  "gemma4-e4b": 7463013418,
  "gemma4-31b": 30697345340,
  "lfm2.5-230m": 229693184,
  "lfm2.5-350m": 354483968,
  "lfm2-700m": 742489344,
  "lfm2.5-1.2b": 1170340608,
  "lfm2.5-2.6b": 2697198592,
  "lfm3-1.7b": 1728801536,
  "ministral3-3b": 3429006336,
  "ministral3-8b": 8489553920,
  "ministral3-14b": 13506073600,
  "granite4.0-350m": 352379904,
  "granite4.0-1b": 1631750144,
  "granite4.0-micro": 3402836480,
  "granite4.1-3b": 3402836480,
  "granite4.1-8b": 8380551168,
  "olmo3-7b": 7298011136,
  "olmo3-32b": 32233522176,
  "llama2-7b": 6738415616,
  "llama2-13b": 13015864320,
  "llama3-8b": 8030261248,
  "llama3.2-1b": 1235814400,
  "llama3.2-3b": 3212749824,
  tinyllama: 1100048384,
  "smollm2-135m": 134515008,
  "smollm2-360m": 361821120,
  "smollm2-1.7b": 1711376384,
  "smollm3-3b": 3075098624,
  "mistral-7b": 7248023552,
  "mistral-7b-v0.1": 7241732096,
  "mistral-nemo": 12247782400,
  "qwen2.5-0.5b": 494032768,
  "qwen2.5-1.5b": 1543714304,
  "qwen2.5-3b": 3085938688,
  "qwen2.5-7b": 7615616512,
  "qwen2.5-14b": 14770033664,
  "qwen2.5-32b": 32763876352,
  "qwen3-0.6b": 596049920,
  "qwen3-1.7b": 1720574976,
  "qwen3-4b": 4022468096,
  "qwen3-8b": 8190735360,
  "qwen3-14b": 14768307200,
  "qwen3-32b": 32762123264,
  "gemma2-2b": 2614341888,
  "gemma2-9b": 9241705984,
  "gemma2-27b": 27227128320,
  "gemma3-270m": 268098176,
  "gemma3-1b": 999885952,
  "gemma3-4b": 4300079472,
  "gemma3-12b": 12187325040,
  "gemma3-27b": 27432406640,
  "phi3-mini-4k": 3821079552,
  "phi3.5-mini": 3821079552,
  "phi4-mini": 3836021760,
  phi4: 14659507200,
  "olmo2-1b": 1484916736,
  "olmo2-7b": 7298617344,
  "olmo2-13b": 13716198400,
  "olmo2-32b": 32234279936,
  "granite3.3-2b": 2533539840,
  "granite3.3-8b": 8170864640,
};

/** What Gemma 3 has beside its text part from 4B on: SigLIP of width 1152, a norm of its output, and a projection. */
const visionParameters = (name: string): number =>
  /^gemma3-(4|12|27)b$/.test(name) ? 416866032 + 1152 * (1 + presetConfig(name).hiddenSize) : 0;

test.each(Object.entries(published))("%s has the %i parameters that were published", (name, count) => {
  expect(parameters(name)).toBe(count - visionParameters(name));
  expect(() => checkConfig(presetConfig(name), name)).not.toThrow();
});

test("what is said of layers is said of all of them", () => {
  for (const name of PRESET_NAMES) {
    const { layers, window, rotatedLayers, layerKinds } = presetConfig(name);
    for (const said of [window?.layers, rotatedLayers, layerKinds])
      expect(said?.length ?? layers, name).toBe(layers);
  }
});

test("the error for an unknown name lists the known ones", () => {
  for (const name of ["llama4", "constructor"])
    expect(() => presetConfig(name)).toThrowError(
      expect.objectContaining({
        code: "not_found",
        message: expect.stringContaining(PRESET_NAMES.join(", ")),
      }),
    );
});
