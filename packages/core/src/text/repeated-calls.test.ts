import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { runs } from "../../../../test/runs.ts";
import { CALL_SYNTAXES, TAGGED, type WrittenCall, writeCalls } from "./call-syntax.ts";
import { type CallLayout, createAnswerScanner } from "./detokenizer.ts";

const tagged: CallLayout = { reasoning: "none", tags: undefined, syntax: TAGGED };
const several = CALL_SYNTAXES.filter(({ isSingle }) => !isSingle);

/** What comes out of a text in these pieces. */
function scan(pieces: readonly string[], { layout = tagged, stops = [] as readonly string[] } = {}) {
  const scanner = createAnswerScanner(stops, layout);
  const parts = pieces.map((piece) => scanner.push(piece));
  const stopped = parts.at(-1)?.stopped ?? false;
  return { text: parts.map(({ text }) => text).join("") + scanner.flush(), stopped };
}

const call = (name: string, given: string, id = "000000000"): WrittenCall => ({ id, name, arguments: given });
const callArbitrary = fc
  .tuple(
    fc.constantFrom("rain", "rainfall"),
    fc.constantFrom("{}", '{"a": "}"}', '{"a": "} "}', '{"a": {"b": [1]}}'),
    fc.constantFrom("000000000", "abcdefghi"),
  )
  .map(([name, given, id]) => call(name, given, id));

/** A text in pieces of these lengths, in turn. */
function split(text: string, lengths: readonly number[]): readonly string[] {
  const pieces: string[] = [];
  for (let at = 0; at < text.length; at += lengths[(pieces.length - 1) % lengths.length] ?? 1)
    pieces.push(text.slice(at, at + (lengths[pieces.length % lengths.length] ?? 1)));
  return pieces;
}

test.each(several.map((syntax) => [syntax.name, syntax] as const))(
  "an answer in the syntax %s ends after the last call before a repetition, however it is split",
  (_, syntax) => {
    const given = fc.array(callArbitrary, { minLength: 1, maxLength: 5 });
    const lengths = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(given, lengths, (calls, sizes) => {
        const key = (one: WrittenCall): string => one.name + one.arguments;
        const again = calls.findIndex((one, i) => calls.slice(0, i).some((two) => key(two) === key(one)));
        const kept = again < 0 ? calls : calls.slice(0, again);
        expect(scan(split(writeCalls(syntax, calls), sizes), { layout: { ...tagged, syntax } })).toEqual({
          text: writeCalls(syntax, kept),
          stopped: again >= 0,
        });
      }),
      { numRuns: runs(200) },
    );
  },
);

describe("a scanner of answers", () => {
  const twice = writeCalls(TAGGED, [call("rain", '{"city": "Oslo"}'), call("rain", '{"city": "Paris"}')]);

  test("holds a later call back only while it is as an earlier one", () => {
    const scanner = createAnswerScanner([], tagged);
    const at = twice.indexOf("Paris");
    expect(scanner.push(twice.slice(0, at)).text).toBe(twice.slice(0, twice.indexOf("\n</tool_call>")));
    expect(scanner.push("P").text).toBe(`${twice.slice(twice.indexOf("\n</tool_call>"), at)}P`);
  });

  test("takes what is written while the model reasons for no call", () => {
    const answer = `<think>${writeCalls(TAGGED, [call("rain", "{}")])}</think>${writeCalls(TAGGED, [call("rain", "{}")])}`;
    const tags = { begin: "<think>", end: "</think>" };
    expect(scan([answer], { layout: { ...tagged, tags, reasoning: "optional" } })).toEqual({
      text: answer,
      stopped: false,
    });
  });

  test("stops at stop strings, too", () => {
    expect(scan([twice], { stops: ["Paris"] })).toEqual({
      text: twice.slice(0, twice.indexOf("Paris")),
      stopped: true,
    });
  });
});
