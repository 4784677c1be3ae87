import { describe, expect, it } from "vitest";
import { and, charClass, concat, EMPTY, either, literal, NOTHING, not, type Regex, repeat } from "#grammar";
import { isPlainlyNothing } from "./prepared-grammar.ts";

const digit = charClass("09");
const name = concat(literal('"'), repeat(charClass("az")), literal('"'));

describe("isPlainlyNothing", () => {
  it.each<[string, Regex]>([
    ["texts", either(NOTHING, literal(""))],
    ["a repeat of nothing, not at all", repeat(NOTHING)],
    ["names but some", and(name, not(either(literal('"a"'), literal('"b"'))))],
    ["names, twice, but one", and(name, and(name, not(literal('"a"'))))],
    ["eleven letters but ten digits", and(charClass("ak"), not(digit))],
    ["what is not a word", not(literal("a"))],
  ])("finds a text among %s", (_, regex) => {
    expect(isPlainlyNothing(regex)).toBe(false);
    expect(isPlainlyNothing(concat(regex, digit))).toBe(false);
  });

  it.each<[string, Regex]>([
    ["no options", NOTHING],
    ["an empty class", charClass([2, 1])],
    ["a part without texts", concat(digit, NOTHING)],
    ["repeats of nothing", repeat(NOTHING, 2, 3)],
    ["an intersection with nothing", and(name, NOTHING)],
  ])("finds none in %s", (_, regex) => {
    expect(isPlainlyNothing(regex)).toBe(true);
  });

  it.each<[string, Regex]>([
    ["two languages", and(name, repeat(literal("a")))],
    ["as many exceptions as texts", and(charClass("aj"), not(digit))],
    ["endless exceptions", and(name, not(repeat(digit)))],
    ["repeats of the empty text", and(repeat(EMPTY), not(literal("")))],
    ["the complement of all", not(not(EMPTY))],
  ])("cannot tell of %s", (_, regex) => {
    expect(isPlainlyNothing(regex)).toBeUndefined();
  });
});
