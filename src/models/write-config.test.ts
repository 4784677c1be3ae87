import { expect, test } from "vitest";
import type { LlamaConfig } from "./config.ts";
import { parseHuggingFaceConfig } from "./parse-config.ts";
import { presets } from "./registry.ts";
import { ropeFrequencies } from "./rope-frequencies.ts";
import { huggingFaceConfig } from "./write-config.ts";

const again = (config: LlamaConfig): LlamaConfig =>
  parseHuggingFaceConfig(JSON.parse(JSON.stringify(huggingFaceConfig(config, "here"))), "config.json");

test.each(Object.entries<LlamaConfig>(presets))("the config of %s is read back as it was", (_, config) => {
  expect(again(config)).toEqual(config);
});

test("several end tokens and a linear scaling too", () => {
  const config: LlamaConfig = {
    ...presets["smollm2-135m"],
    eosTokens: [2, 5],
    rope: { kind: "linear", theta: 1e5, factor: 2.5 },
    attentionBias: true,
  };
  expect(again(config)).toEqual(config);
});

const llama = presets["llama3.2-1b"];
const withFactors = (factors: readonly number[], factor = 1): LlamaConfig => ({
  ...llama,
  rope: { kind: "factors", theta: llama.rope.theta, factor, factors },
});

test("a GGUF file's factors are told as Llama 3's rule", () => {
  const plain = ropeFrequencies({ headDim: llama.headDim, rope: { kind: "default", theta: 500000 } });
  const factors = ropeFrequencies(llama).map((frequency, i) => Math.fround(plain[i]! / frequency));
  expect(again(withFactors(factors)).rope).toEqual(llama.rope);
});

test("equal factors are a linear scaling, or none", () => {
  const equal = (value: number) => Array.from({ length: llama.headDim / 2 }, () => value);
  expect(again(withFactors(equal(2), 3)).rope).toEqual({ kind: "linear", theta: 500000, factor: 6 });
  expect(again(withFactors(equal(1))).rope).toEqual({ kind: "default", theta: 500000 });
});

test("other factors are refused", () => {
  const odd = Array.from({ length: llama.headDim / 2 }, (_, i) => 1 + i);
  expect(() => huggingFaceConfig(withFactors(odd), "m.gguf")).toThrowError(
    /m\.gguf: its rotary factors .* are not those of Llama 3/,
  );
});
