import { afterEach, expect, test, vi } from "vitest";
import { breakColumns, hasColour, isTerminal, paint, terminalColumns } from "./colour.ts";

const terminal = { isTTY: true };
const pipe = {};

afterEach(() => vi.unstubAllEnvs());

test("a terminal shows colour, a pipe does not", () => {
  expect([hasColour(terminal, {}), hasColour(pipe, {})]).toEqual([true, false]);
  expect([isTerminal(terminal, {}), isTerminal(pipe, {})]).toEqual([true, false]);
});

test("NO_COLOR takes colours away and leaves the cursor; TERM=dumb takes both", () => {
  expect(hasColour(terminal, { NO_COLOR: "1" })).toBe(false);
  expect(hasColour(terminal, { NO_COLOR: "1", FORCE_COLOR: "1" })).toBe(false);
  expect(hasColour(terminal, { NO_COLOR: "" })).toBe(true); // an empty one counts as not set
  expect(isTerminal(terminal, { NO_COLOR: "1" })).toBe(true);
  expect(hasColour(terminal, { TERM: "dumb", FORCE_COLOR: "1" })).toBe(false);
  expect(isTerminal(terminal, { TERM: "dumb" })).toBe(false);
});

test("FORCE_COLOR has a pipe show colour, 0 takes it from a terminal; neither is about the cursor", () => {
  for (const forced of ["", "1", "3", "true"]) expect(hasColour(pipe, { FORCE_COLOR: forced })).toBe(true);
  for (const forced of ["0", "false"]) expect(hasColour(terminal, { FORCE_COLOR: forced })).toBe(false);
  expect(isTerminal(pipe, { FORCE_COLOR: "1" })).toBe(false);
});

test("text is painted for its own stream only", () => {
  for (const name of ["NO_COLOR", "FORCE_COLOR", "TERM"]) vi.stubEnv(name, undefined);
  expect(paint("red", "no", terminal)).toBe("\u001b[31mno\u001b[39m");
  expect(paint(["bold", "cyan"], "a", terminal)).toBe("\u001b[1m\u001b[36ma\u001b[39m\u001b[22m");
  expect(paint("dim", "", terminal)).toBe("");
  expect(paint("red", "no", pipe)).toBe("no");
  vi.stubEnv("NO_COLOR", "1");
  expect(paint("red", "no", terminal)).toBe("no");
});

test("columns are the terminal's own, then COLUMNS, then 80; in a pipe lines are not broken", () => {
  expect(terminalColumns({ isTTY: true, columns: 60 }, { COLUMNS: "100" })).toBe(60);
  expect(terminalColumns({ isTTY: true, columns: 0 }, { COLUMNS: "100" })).toBe(100);
  for (const bad of ["", "x", "-5", "0", undefined])
    expect(terminalColumns({ columns: 0 }, { COLUMNS: bad })).toBe(80);
  expect(breakColumns({ isTTY: true, columns: 60 })).toBe(60);
  expect(breakColumns({ columns: 60 })).toBe(Number.POSITIVE_INFINITY);
});
