import { beforeEach, expect, test } from "vitest";
import { guardImports } from "./jail/imports.js";
import type { Gate, Import, Imports } from "./jail/types.ts";

const memory = new ArrayBuffer(64);
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
    "__syscall_openat",
    "emscripten_resize_heap",
  ];
  const env = Object.fromEntries(
    names.map((name) => [name, Object.assign(() => called.push(name), { sig: "vp" })]),
  );
  // Emscripten gives the same object twice, and one that has every member
  const addresses = new Proxy({}, { ownKeys: () => ["never"], get: () => expect.unreachable() });
  imports = { env, wasi_snapshot_preview1: env, "GOT.func": addresses };
  guardImports(imports, gate, { memory: () => memory, limit: 1200 });
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
