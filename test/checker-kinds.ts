// What the tests of the program checker share.
import { execFileSync } from "node:child_process";

/** The verdict on a right program. */
export const passed = { passed: true, reason: "passed" };

/** A program that passes where it expects 3. */
export const PROGRAM = (expected: number) => `
from typing import List

def total(numbers: List[int]) -> int:
    return sum(numbers)

def check(candidate):
    assert candidate([1, 2]) == ${expected}

check(total)`;

const python = (() => {
  try {
    return execFileSync("which", ["python3"], { encoding: "utf8" }).trim();
  } catch {
    return undefined;
  }
})();

/** The checkers by name, with the Python of each; the system's only where there is one. */
export const kinds = [
  ["Pyodide", undefined],
  ...(python === undefined ? [] : [["the system's Python", python]]),
];
