import { describe, expect, test } from "vitest";
import { tinyModel } from "../../test/tiny-model.ts";
import { fullRequest } from "./requests.ts";
import { bytesPerPosition } from "./slots.ts";
import type { EngineModel, EngineRequest } from "./types.ts";

const { config } = tinyModel();
const model: EngineModel = {
  hiddenSize: 8,
  vocabularySize: config.vocabularySize,
  maxLength: 200,
  endTokens: [2],
  fingerprint: "test",
  identity: "test",
  baseDtype: "float32",
  computeDtype: "float32",
  drafts: { tokens: 0, sameUpTo: 0, isPadded: false },
};
const bounds = { model, bytesPerPosition: bytesPerPosition(config), cacheMemory: 1e9 };
const request: EngineRequest = { prompt: [1, 2, 3], adapter: null, maxTokens: 5, seed: 1, tenant: "test" };
const check =
  (over: Partial<EngineRequest>, limits: Partial<typeof bounds> = {}) =>
  () =>
    fullRequest({ ...request, ...over }, { ...bounds, ...limits });
const ones = (length: number) => Array<number>(length).fill(1);

describe("a request that cannot run to its end is refused:", () => {
  const cases: readonly (readonly [string, Partial<EngineRequest>, string, RegExp])[] = [
    ["no tokens", { prompt: [] }, "bad_data", /empty/],
    ["a token beyond the vocabulary", { prompt: [1, 48] }, "bad_data", /token 48 .* 48/],
    ["a negative token", { prompt: [-1] }, "bad_data", /token -1/],
    ["a fractional token", { prompt: [1.5] }, "bad_data", /token 1.5/],
    ["a token that is not a number", { prompt: [Number.NaN] }, "bad_data", /token NaN/],
    [
      "one token too many",
      { maxTokens: 198 },
      "bad_option",
      /3 tokens .* 198 are 201 in total; the limit is 200/,
    ],
    ["a prompt too long", { prompt: ones(201), maxTokens: 0 }, "bad_option", /201/],
    ["a fractional maxTokens", { maxTokens: 1.5 }, "bad_option", /maxTokens is 1.5/],
    ["a negative maxTokens", { maxTokens: -1 }, "bad_option", /maxTokens/],
    ["a seed that is not a number", { seed: Number.NaN }, "bad_option", /seed/],
    ["more alternatives than tokens", { logprobs: 49 }, "bad_option", /logprobs is 49/],
    ["more alternatives for prompt tokens", { promptLogprobs: 49 }, "bad_option", /promptLogprobs is 49/],
    ["an empty stop", { stop: ["a", ""] }, "bad_option", /stop sequence is empty/],
    ["a stop token beyond the vocabulary", { stopTokens: [48] }, "bad_data", /token 48 of the stop tokens/],
    [
      "a bias of no token",
      { sampling: { logitBias: new Map([[-1, 1]]) } },
      "bad_data",
      /token -1 of logitBias/,
    ],
    ["fewer tokens than there have to be", { minTokens: 6 }, "bad_option", /minTokens is 6/],
    ["an unknown pooling", JSON.parse('{"pooling": "cls"}'), "bad_option", /pooling: "cls".* last or mean/],
    ["sampling out of range", { sampling: { topP: 2 } }, "bad_option", /topP/],
  ];
  test.each(cases)("%s", (_, over, code, message) => {
    expect(check(over)).toThrowError(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    );
  });

  test("a request larger than the whole KV cache", () => {
    const limits = { cacheMemory: 64 * bytesPerPosition(config) };
    expect(check({ maxTokens: 61 }, limits)).not.toThrow();
    expect(check({ maxTokens: 62 }, limits)).toThrowError(expect.objectContaining({ code: "bad_option" }));
    expect(check({ prompt: ones(64), maxTokens: 0 }, limits)).not.toThrow();
    expect(check({ prompt: ones(65), maxTokens: 0 }, limits)).toThrowError(/65 tokens need more than/);
  });
});

test("a request that fits to its last token is accepted", () => {
  expect(check({ maxTokens: 197, logprobs: 48, promptLogprobs: 0, seed: 2 ** 53 - 1 })).not.toThrow();
  expect(check({ prompt: ones(200), maxTokens: 0 })).not.toThrow();
  expect(check({ prompt: [0, 47] })).not.toThrow();
});
