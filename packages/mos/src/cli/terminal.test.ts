import { beforeEach, expect, test, vi } from "vitest";
import { cutToColumns, openLiveLine } from "./terminal.ts";

beforeEach(() => {
  vi.stubEnv("TERM", "xterm");
  return () => vi.unstubAllEnvs();
});

test("a line is cut to the columns and cannot move the cursor", () => {
  expect(cutToColumns("0123456789", 10)).toBe("0123456789");
  expect(cutToColumns("0123456789", 9)).toBe("01234567…");
  expect(cutToColumns("a\u001b[2Jb\nc", 20)).toBe("a [2Jb c");
  expect(cutToColumns("😀😀😀", 3)).toBe("😀…");
  expect(cutToColumns("训练训练", 6)).toBe("训练…");
  expect(cutToColumns("abc", 0)).toBe("");
});

function open(terminal: boolean) {
  const written: string[] = [];
  let time = 0;
  const stream = { isTTY: terminal, columns: 12, write: (text: string) => written.push(text) };
  const line = openLiveLine(stream, { now: () => time, refreshMilliseconds: 100, plainMilliseconds: 1000 });
  const at = (milliseconds: number) => {
    time = milliseconds;
  };
  return { line, at, text: () => written.join("") };
}

test("a terminal sees one line that changes, and its last state", () => {
  const { line, at, text } = open(true);
  line.update("one");
  line.update("not seen");
  at(100);
  line.update("two is too long");
  line.print("stays");
  line.update("three");
  line[Symbol.dispose]();
  line[Symbol.dispose]();
  expect(text()).toBe(
    "\rone\u001b[K" +
      "\rtwo is too…\u001b[K" +
      "\r\u001b[Kstays\n\rtwo is too…\u001b[K" +
      "\rthree\u001b[K\n",
  );
});

test("a new phase is shown at once on a terminal, and in a file at intervals as all states", () => {
  for (const isTerminal of [true, false]) {
    const { line, text } = open(isTerminal);
    line.update("loading");
    line.show("compiling");
    expect(text()).toBe(isTerminal ? "\rloading\u001b[K\rcompiling\u001b[K" : "loading\n");
  }
});

test("a terminal that is dumb sees whole lines, and no escape codes", () => {
  vi.stubEnv("TERM", "dumb");
  const { line, at, text } = open(true);
  line.update("one");
  at(500);
  line.update("not seen");
  line.print("stays");
  line.clear();
  line[Symbol.dispose]();
  expect(text()).toBe("one\nstays\n");
});

test("of parts those are shown that fit, the first ones first", () => {
  const { line, text } = open(true);
  line.update(["1/5", "loss 2", "left out"]);
  line[Symbol.dispose]();
  expect(text()).toBe("\r1/5  loss 2\u001b[K\n"); // the last of 12 columns stays free
  const file = open(false);
  file.line.update(["1/5", "loss 2", "and all the rest"]);
  expect(file.text()).toBe("1/5  loss 2  and all the rest\n");
});

test("a file sees whole lines at intervals", () => {
  const { line, at, text } = open(false);
  line.update("one is not cut here");
  at(999);
  line.update("not seen");
  at(1000);
  line.update("two");
  line.print("stays");
  line.update("three");
  line[Symbol.dispose]();
  expect(text()).toBe("one is not cut here\ntwo\nstays\nthree\n");
});

test("a line that is cleared leaves nothing in front of what comes next", () => {
  const terminal = open(true);
  terminal.line.update("5/5");
  terminal.line.update("not seen");
  terminal.line.clear();
  terminal.line[Symbol.dispose]();
  expect(terminal.text()).toBe("\r5/5\u001b[K\r\u001b[K");
  const file = open(false);
  file.line.update("4/5");
  file.line.update("5/5");
  file.line.clear();
  file.line[Symbol.dispose]();
  expect(file.text()).toBe("4/5\n");
  const unused = open(true);
  unused.line.clear();
  unused.line.print("only this");
  expect(unused.text()).toBe("only this\n");
});

test("a live line that was never used writes nothing", () => {
  const { line, text } = open(true);
  line.print("only this");
  line[Symbol.dispose]();
  expect(text()).toBe("only this\n");
});
