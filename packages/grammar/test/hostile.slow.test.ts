import { expect, test } from "vitest";
import { GrammarCompiler, GrammarError } from "../src/index.ts";
import { HOSTILE_SOURCES } from "./hostile-sources.ts";

/** Seconds of CPU for a compilation, and for what surrounds one: JSON, collecting garbage, and a thread that starts anew, from source. */
const [LIMIT, MARGIN] = [1, 2];

test("every hostile source is compiled or refused in time, and the next one is not held up", {
  timeout: 600_000,
}, async () => {
  expect(HOSTILE_SOURCES.length).toBeGreaterThanOrEqual(200);
  await using compiler = new GrammarCompiler({ seconds: LIMIT });
  // the first thread starts
  await compiler.compile({ type: "text", text: "a" });
  const problems: unknown[] = [];
  const refusals = new Map<string, number>();
  for (const [i, source] of HOSTILE_SOURCES.entries()) {
    const shown = `source ${i}, ${source.type}`;
    const start = process.cpuUsage();
    try {
      await compiler.compile(source);
    } catch (error) {
      if (!(error instanceof GrammarError)) problems.push([shown, String(error)]);
      else refusals.set(error.code, (refusals.get(error.code) ?? 0) + 1);
    }
    const { user, system } = process.cpuUsage(start);
    const seconds = (user + system) / 1e6;
    if (seconds > LIMIT + MARGIN) problems.push([shown, seconds]);
  }
  expect(problems).toEqual([]);
  expect(refusals.get("unsupported")).toBeGreaterThan(0);
});

test("memory is given back after thousands of refusals", { timeout: 600_000 }, async () => {
  await using compiler = new GrammarCompiler();
  const refuse = async (i: number): Promise<void> => {
    const source = { type: "json_schema", schema: { title: `t${i}`.repeat(100), type: "strange" } } as const;
    // `expect(…).rejects` would keep each promise until the test ends
    const error = await compiler.compile(source).catch((error: unknown) => error);
    if (!(error instanceof GrammarError)) throw new Error("it was not refused");
  };
  for (let i = 0; i < 1000; i++) await refuse(i);
  const before = process.memoryUsage().rss;
  for (let i = 1000; i < 11_000; i++) await refuse(i);
  expect(process.memoryUsage().rss - before).toBeLessThan(50e6);
  expect(compiler.stats().threads).toBe(1);
});
