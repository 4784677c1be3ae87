import { expect, test } from "vitest";
import { batchText, draftsText, movedRows, serviceHint } from "./serve.ts";

const base = { name: "tiny", fingerprint: "sha256:0123456789abcdef" };
const requantised = { name: "half", trainedOn: base };
const retokenised = { name: "old", trainedOn: { ...base, sameNumbers: true, otherTokens: true } } as const;
const both = { name: "both", trainedOn: { ...base, otherTokens: true } } as const;

const linesFor = (...adapters: Parameters<typeof movedRows>[0]) =>
  movedRows(adapters).map(([, line]) => line);

test("a lone adapter that differs has a line of its own", () => {
  expect(linesFor()).toEqual([]);
  expect(linesFor(retokenised)).toEqual([
    "old: trained with token ids that differ from this base's, such as those of numbers in lists and tables: retrain it; used unchanged",
  ]);
});

test("several have a line for each way in which they differ", () => {
  expect(linesFor(requantised, retokenised, both)).toEqual([
    "2 adapters were trained on another quantisation of the same model, such as half on tiny; used unchanged",
    "2 adapters were trained with token ids that differ from this base's, such as old: retrain them; used unchanged",
  ]);
  expect(linesFor(requantised, { ...requantised, name: "quarter" })).toHaveLength(1);
  expect(linesFor(retokenised, { ...retokenised, name: "older" })).toHaveLength(1);
});

test("routes of fine-tuning as a service say how to get them, and how to install the package that has them", () => {
  const start =
    "start the server with mos serve --model … --state FOLDER (docs/how-to/fine-tuning-service.md)";
  expect(serviceHint(true)).toBe(start);
  expect(serviceHint(false)).toBe(`install mixture-of-shards-service (README.md says how), and ${start}`);
});

test.each([
  [false, "float32", "4 concurrent requests"],
  [
    false,
    "int8",
    "4 concurrent requests; a seed repeats the answer of a request that runs alone (--deterministic: any)",
  ],
  [true, "int8", "4 concurrent requests; a seed repeats an answer, whatever runs beside it"],
] as const)(
  "the start says what a seed repeats: deterministic %s, %s",
  (deterministic, computeDtype, text) => {
    expect(batchText({ maxBatch: 4, deterministic }, { computeDtype })).toBe(text);
  },
);

test.each([
  [{ tokens: 0, sameUpTo: 0, isPadded: false }, "none"],
  [{ tokens: 7, sameUpTo: 4096, isPadded: true }, "at most 7 tokens; answers stay the same"],
  [
    { tokens: 1, sameUpTo: 390, isPadded: false },
    "at most 1 token; beyond 390 tokens where two tokens are about as likely, the other may be chosen (--draft-tokens 0: none)",
  ],
  [
    { tokens: 7, sameUpTo: 0, isPadded: false },
    "at most 7 tokens; where two tokens are about as likely, the other may be chosen (--draft-tokens 0: none)",
  ],
])("the start says whether drafts change answers: %o", (drafts, text) => {
  expect(draftsText({ drafts, maxLength: 4096 })).toBe(text);
});
