import { expect, it } from "vitest";
import { Automaton } from "#automaton";
import { charClass, concat, either, literal, repeat } from "#grammar";
import { Lexer } from "./lexer.ts";

it("stops work that needs too many states", () => {
  const letters = charClass("ab");
  // a state knows which of the last hundred letters were an a, and which a b
  const ends = ["a", "b"].map((letter, index) =>
    concat(repeat(letters), literal(letter), repeat(letters, 90 + index, 90 + index)),
  );
  const lexer = new Lexer(new Automaton(), [{ name: "hostile", regex: either(...ends) }], 2 ** 25);
  const follow = (steps: number): void => {
    let state = lexer.start([lexer.terminalOf(0)]);
    let random = 34;
    for (let step = 0; step < steps; step++) {
      random = Math.imul(random, 1664525) + 1013904223;
      state = lexer.step(state, 97 + (random >>> 31)) ?? state;
    }
  };
  expect(() => lexer.limited({ growth: 2 ** 18 }, () => follow(100_000))).toThrow(
    "its regular expression has too many states",
  );
  // beyond such work, only the limit of nodes counts
  follow(200);
});
