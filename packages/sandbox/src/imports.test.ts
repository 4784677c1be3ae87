import { beforeEach, expect, test } from "vitest";
import type { FileSystem, Gate, Import, Imports } from "./jail/emscripten.ts";
import { guardImports } from "./jail/imports.js";
import { temporaryFiles } from "./jail/temporary.js";

const memory = new ArrayBuffer(256);
/** What opens is descriptor 5. */
const stream = { path: "/tmp/open", flags: 0, position: 0, node: { usedBytes: 0 } };
const files = {
  cwd: () => "/home/pyodide",
  getStream: (descriptor: number) => (descriptor === 5 ? stream : null),
} as unknown as FileSystem;
let gate: Gate;
let called: string[];
let imports: Imports;

beforeEach(() => {
  gate = { closed: false, breach: undefined };
  called = [];
  const names = [
    "emscripten_run_script",
    "clock_time_get",
    "fd_write",
    "fd_pwrite",
    "__syscall_openat",
    "__syscall_renameat",
    "__syscall_ftruncate64",
    "emscripten_resize_heap",
  ];
  const env = Object.fromEntries(
    names.map((name) => [name, Object.assign(() => called.push(name), { sig: "vp" })]),
  );
  // Emscripten gives the same object twice, and one that has every member
  const addresses = new Proxy({}, { ownKeys: () => ["never"], get: () => expect.unreachable() });
  imports = { env, wasi_snapshot_preview1: env, "GOT.func": addresses };
  guardImports(imports, gate, { memory: () => memory, limit: 1200, temporary: temporaryFiles(() => files) });
});

const call = (name: string, ...args: number[]) => (imports["env"]![name] as Import)(...args);

test("open, everything passes", () => {
  call("emscripten_run_script", 1);
  call("fd_write", 1, 0, 0, 0);
  expect(called).toEqual(["emscripten_run_script", "fd_write"]);
});

test("when closed, an unknown import is a breach that is remembered; clocks still work", () => {
  gate.closed = true;
  expect(() => call("emscripten_run_script", 1)).toThrow(/not for programs/);
  expect(gate.breach).toBe("emscripten_run_script");
  call("clock_time_get");
  expect(called).toEqual(["clock_time_get"]);
});

test("closed, files open for reading only", () => {
  gate.closed = true;
  expect(call("__syscall_openat", 0, 0, 0o100)).toBe(-69);
  expect(call("__syscall_openat", 0, 0, 0o2)).toBe(-69);
  expect(called).toEqual([]);
  call("__syscall_openat", 0, 0, 0);
  expect(called).toEqual(["__syscall_openat"]);
});

/** Puts a path into memory, and gives its address. */
function path(text: string): number {
  new Uint8Array(memory, 100).fill(0).set(new TextEncoder().encode(text));
  return 100;
}

test.each([
  ["/tmp/x", true],
  ["//tmp/./a/../x", true],
  ["../../tmp/x", true],
  ["x", false],
  ["/tmp", false],
  ["/tmp/", false],
  ["/tmp/..", false],
  ["/tmp/../lib/x", false],
  ["/tmp/a/../../lib/x", false],
  ["/tmpx/x", false],
  ["/lib/tmp/x", false],
  ["", false],
])("closed, a file can be written at %j: %j", (text, isWritten) => {
  gate.closed = true;
  const answer = call("__syscall_openat", -100, path(text), 0o101);
  expect(called).toEqual(isWritten ? ["__syscall_openat"] : []);
  if (!isWritten) expect(answer).toBe(-69);
});

test("closed, files are renamed within /tmp only, also relative to an open folder", () => {
  gate.closed = true;
  const inside = path("/tmp/a");
  expect(call("__syscall_renameat", -100, inside, -100, 0)).toBe(-69);
  expect(call("__syscall_renameat", -100, 0, -100, inside)).toBe(-69);
  call("__syscall_renameat", -100, inside, -100, inside);
  expect(called).toEqual(["__syscall_renameat"]);
  call("__syscall_openat", 5, path("x"), 0o101);
  expect(called).toHaveLength(2);
  expect(call("__syscall_openat", 6, path("x"), 0o101)).toBe(-69);
});

test("closed, what is written has a size in all, however it is written", () => {
  gate.closed = true;
  const most = 32 * 2 ** 20;
  const bytes = (length: number): void => new DataView(memory).setUint32(4, length, true);
  bytes(most + 1);
  expect(call("fd_write", 5, 0, 1, 32)).toBe(51);
  bytes(1);
  expect(call("fd_pwrite", 5, 0, 1, most, 32)).toBe(51);
  expect(call("__syscall_ftruncate64", 5, most + 1)).toBe(-51);
  stream.position = most;
  expect(call("fd_write", 5, 0, 1, 32)).toBe(51);
  stream.position = 0;
  expect(called).toEqual([]);
  bytes(most - 1000);
  call("fd_write", 5, 0, 1, 32);
  expect(called).toEqual(["fd_write"]);
  bytes(1001);
  expect(call("fd_write", 5, 0, 1, 32)).toBe(51);
  expect(call("__syscall_openat", -100, path("/tmp/x"), 0o101)).toBe(-51);
});

test("closed, output is counted and forgotten", () => {
  gate.closed = true;
  const view = new DataView(memory);
  view.setUint32(4, 10, true);
  view.setUint32(12, 20, true);
  expect(call("fd_write", 1, 0, 2, 32)).toBe(0);
  expect(view.getUint32(32, true)).toBe(30);
  expect(call("fd_write", 3, 0, 2, 32)).toBe(8);
  expect(called).toEqual([]);
});

test("memory has its limit, open or closed", () => {
  expect(call("emscripten_resize_heap", 1001)).toBe(0);
  expect(called).toEqual([]);
  call("emscripten_resize_heap", 1000);
  expect(called).toEqual(["emscripten_resize_heap"]);
});

test("a signature stays on its function", () => {
  expect(imports["env"]?.["emscripten_run_script"]).toHaveProperty("sig", "vp");
});
