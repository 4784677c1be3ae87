import { expect, test } from "vitest";
import { checkBase, describeTrainedOn, type TrainedOn, UNKNOWN_TOKENS } from "./base-match.ts";

const saved = { name: "tiny", fingerprint: "sha256:0123456789abcdef", identity: "sha256:1" };
test.each<[string, string | undefined, true | undefined]>([
  ["the same ids", "sha256:new", undefined],
  ["other ids", "sha256:old", true],
  ["none recorded", undefined, undefined],
  ["an imported adapter, whose ids nobody knows", UNKNOWN_TOKENS, undefined],
])("an adapter with %s", (_, tokens, otherTokens) => {
  const trainedOn = checkBase("a", { ...saved, tokens }, { ...saved, tokens: "sha256:new" });
  expect(trainedOn?.otherTokens).toBe(otherTokens);
  // where no tokenizer is at hand, ids are not compared
  expect(checkBase("a", { ...saved, tokens }, { ...saved, tokens: undefined })).toBeUndefined();
});

test("one line says what differs", () => {
  const { name, fingerprint } = saved;
  const says = (one: Partial<TrainedOn>): string => describeTrainedOn({ name, fingerprint, ...one });
  expect(says({ sameNumbers: true, otherTokens: true })).toBe(
    "trained with token ids that differ from this base's, such as those of numbers in lists and tables: train it again; used unchanged",
  );
  expect(says({ otherTokens: true })).toMatch(
    /^trained on another quantisation.*tiny.*; trained with token ids that differ.*; used unchanged$/,
  );
  expect(says({})).not.toMatch(/token/);
});
