import { spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { GrammarError, type GrammarSource } from "#grammar";
import { prepareGrammar } from "#matcher";
import { bundleProgram } from "../../../../test/bundle-program.ts";
import { grammarFromSource } from "./assemble.ts";
import { CompileThread, threadSeconds } from "./compile-thread.ts";
import { GrammarCompiler } from "./compiler.ts";

let compiler: GrammarCompiler;
beforeEach(() => {
  compiler = new GrammarCompiler({ seconds: 30 });
  return () => compiler[Symbol.asyncDispose]();
});

const choice = (...choices: string[]): GrammarSource => ({ type: "choice", choices });
/** Takes a tenth of a second and tens of megabytes. */
const large = (first: string, length = 50_000): GrammarSource => ({
  type: "choice",
  choices: [first, ...Array.from({ length }, (_, i) => `choice ${i}`)],
});

test("a source is compiled once", async () => {
  const source = choice("yes", "no");
  const together = await Promise.all([compiler.compile(source), compiler.compile(source)]);
  const later = await compiler.compile(structuredClone(source));
  expect(together.map(({ grammar }) => grammar)).toEqual([
    prepareGrammar(grammarFromSource(source)),
    prepareGrammar(grammarFromSource(source)),
  ]);
  expect([...together, later].map(({ cached }) => cached)).toEqual([false, false, true]);
  expect(later.grammar).toBe(together[0]?.grammar);
  expect(compiler.stats()).toMatchObject({ compiles: 1, hits: 2, cachedGrammars: 1, threads: 1 });
});

test("a refusal keeps its code and is remembered, and the thread lives on", async () => {
  const bad = { type: "choice", choices: [] } as const;
  const before = compiler.stats();
  for (let i = 0; i < 3; i++)
    await expect(compiler.compile(bad)).rejects.toMatchObject({
      name: "GrammarError",
      code: "bad_grammar",
      message: expect.stringContaining('"choices"'),
    });
  const { compiles, refusals, threads } = compiler.stats();
  expect(compiles).toBe(before.compiles + 1);
  expect(refusals).toEqual({ bad_grammar: 3 });
  expect(threads).toBe(1);
});

test("what JSON cannot hold is refused", async () => {
  const circular: { type: string; parts: unknown[] } = { type: "sequence", parts: [] };
  circular.parts.push(circular);
  let deep: unknown = {};
  for (let i = 0; i < 100_000; i++) deep = [deep];
  const huge = { type: "text", text: "a".repeat(9_000_000) };
  const codes = [
    circular,
    { type: "json_schema", schema: deep },
    huge,
    { type: "text", text: 1n },
    undefined,
  ].map((source) => compiler.compile(source as GrammarSource).catch((error: GrammarError) => error.code));
  expect(await Promise.all(codes)).toEqual(["bad_grammar", "limit", "limit", "bad_grammar", "bad_grammar"]);
});

test("a source that takes too long is refused, and those behind it are compiled", async () => {
  await using hasty = new GrammarCompiler({ seconds: 0.05 });
  const late = hasty.compile(large("a", 450_000));
  const next = hasty.compile(choice("b"));
  await expect(late).rejects.toThrow(
    /^a grammar of type choice of [0-9,]* characters takes more than 0.05 seconds/,
  );
  await expect(next).resolves.toMatchObject({ cached: false });
  // it is not remembered
  await expect(hasty.compile(large("a", 450_000))).rejects.toThrow(GrammarError);
  expect(hasty.stats()).toMatchObject({ compiles: 3, threads: 2, refusals: { limit: 2 } });
});

describe("time is that of the thread's CPU", () => {
  const compileWith = async (seconds: number, readSeconds: () => number | undefined) => {
    const thread = new CompileThread({ seconds, megabytes: 256 }, readSeconds);
    try {
      return await thread.run(JSON.stringify(large("a")), "a grammar");
    } finally {
      await thread.end();
    }
  };
  const isLate = { error: { code: "limit" }, isLasting: false };

  test("on a busy machine, where the thread gets little of it", async () => {
    expect(await compileWith(0.02, () => 0)).toHaveProperty("compiled");
    let spent = 0;
    expect(await compileWith(0.02, () => (spent += 0.01))).toMatchObject(isLate);
  });

  test.each([
    ["1500000000 7 9\n", 1.5],
    ["0 0 0\n", undefined],
  ])("which a kernel writes as %j", async (text, seconds) => {
    const folder = await mkdtemp(join(tmpdir(), "mos-thread-"));
    onTestFinished(() => rm(folder, { recursive: true }));
    await writeFile(join(folder, "schedstat"), text);
    expect(threadSeconds(`..${folder}`)).toBe(seconds);
  });

  test("and where the system does not tell it, several times as long may pass", async () => {
    expect(await compileWith(30, () => undefined)).toHaveProperty("compiled");
    expect(await compileWith(0.005, () => undefined)).toMatchObject(isLate);
  });
});

test("a source that takes too much memory is refused, and those behind it are compiled", async () => {
  await using small = new GrammarCompiler({ seconds: 30, megabytes: 40 });
  const many = small.compile(large("a", 450_000));
  const next = small.compile(choice("b"));
  await expect(many).rejects.toThrow(/needs more than 40 MB of memory/);
  await expect(next).resolves.toMatchObject({ cached: false });
});

test("a request that is aborted leaves, and one that still waits is not compiled", async () => {
  await using busy = new GrammarCompiler({ seconds: 30 });
  const controllers = [new AbortController(), new AbortController()] as const;
  const running = busy.compile(large("a"), { signal: controllers[0].signal });
  const waiting = busy.compile(choice("b"), { signal: controllers[1].signal });
  for (const controller of controllers) controller.abort(new Error("gone"));
  await expect(running).rejects.toThrow("gone");
  await expect(waiting).rejects.toThrow("gone");
  await busy.compile(choice("c"));
  expect(busy.stats().compiles).toBe(2);
  await expect(busy.compile(choice("d"), { signal: AbortSignal.abort(new Error("before")) })).rejects.toThrow(
    "before",
  );
});

test("the cache and the queue have limits", async () => {
  await using tiny = new GrammarCompiler({ seconds: 30, cacheBytes: 3000, maxWaiting: 2 });
  const sources = ["a", "b", "c", "d"].map((text) => tiny.compile(choice(text)).catch((error) => error.code));
  expect(await Promise.all(sources)).toEqual([
    expect.anything(),
    expect.anything(),
    expect.anything(),
    "busy",
  ]);
  expect(tiny.stats().cachedBytes).toBeLessThanOrEqual(3000);
  expect(tiny.stats().cachedGrammars).toBeGreaterThan(0);
  expect((await tiny.compile(large("a"))).cached).toBe(false);
  expect((await tiny.compile(large("a"))).cached).toBe(false);
});

test("tenants take turns, however many sources each of them has", async () => {
  await using shared = new GrammarCompiler({ seconds: 30 });
  const order: string[] = [];
  const compile = async (text: string, tenant: string): Promise<void> => {
    await shared.compile(choice(text), { tenant });
    order.push(text);
  };
  const many = Array.from({ length: 20 }, (_, i) => compile(`many ${i}`, "many"));
  const few = [compile("one", "few"), compile("another", "few")];
  await Promise.all([...many, ...few, compile("last", "third")]);
  // the first one ran already
  expect(order.slice(0, 6)).toEqual(["many 0", "many 1", "one", "last", "many 2", "another"]);
});

test("a source of several tenants is compiled at the first of their turns, and once", async () => {
  await using shared = new GrammarCompiler({ seconds: 30 });
  const order: string[] = [];
  const compile = async (text: string, tenant: string): Promise<void> => {
    await shared.compile(choice(text), { tenant });
    order.push(`${tenant}: ${text}`);
  };
  const many = ["a", "b", "c", "d", "common"].map((text) => compile(text, "many"));
  await Promise.all([...many, compile("common", "few")]);
  expect(order).toEqual(["many: a", "many: b", "many: common", "few: common", "many: c", "many: d"]);
  expect(shared.stats()).toMatchObject({ compiles: 5, hits: 1 });
});

test("a tenant whose sources fill its line leaves room for others", async () => {
  await using shared = new GrammarCompiler({ seconds: 30, maxWaiting: 2 });
  const codeOf = (text: string, tenant: string): Promise<string> =>
    shared.compile(choice(text), { tenant }).then(
      () => "compiled",
      (error: GrammarError) => error.code,
    );
  const codes = ["a", "b", "c", "d"].map((text) => codeOf(text, "many"));
  codes.push(codeOf("e", "few"), codeOf("c", "many"));
  expect(await Promise.all(codes)).toEqual([
    "compiled",
    "compiled",
    "compiled",
    "busy",
    "compiled",
    "compiled",
  ]);
});

test("closing ends what runs and waits", async () => {
  const closed = new GrammarCompiler({ seconds: 30 });
  const requests = [closed.compile(large("a")), closed.compile(choice("b"))];
  const outcomes = Promise.allSettled(requests);
  await closed[Symbol.asyncDispose]();
  expect((await outcomes).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  await expect(closed.compile(choice("c"))).rejects.toThrow("closed");
});

test("a compiler does not keep its process running", async () => {
  const program = `
    import { GrammarCompiler } from "./compiler.ts";
    const compiler = new GrammarCompiler({ seconds: 30 });
    const { grammar } = await compiler.compile({ type: "text", text: "a" });
    console.log(grammar.lexemes.length);`;
  const folder = await mkdtemp(join(tmpdir(), "mos-compiler-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, "package.json"), '{"type":"module"}');
  const main = join(folder, "main.js");
  bundleProgram(program, { folder: import.meta.dirname, to: main });
  const worker = { folder: import.meta.dirname, to: join(folder, "compile-worker.js") };
  bundleProgram('import "./compile-worker.ts";', worker);
  const { stdout, stderr } = spawnSync(process.execPath, [main], { encoding: "utf8", timeout: 50_000 });
  expect({ stdout, stderr }).toEqual({ stdout: "1\n", stderr: "" });
});
