// @ts-check
// One Python interpreter for many programs: its whole state is the WebAssembly memory, which is copied once and put back after
// each program. Nothing that a program did can remain.
import { constants } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Script } from "node:vm";
import { guardImports } from "./imports.js";
import { temporaryFiles } from "./temporary.js";

/** Py_file_input: a whole program. */
const FILE_INPUT = 257;
/** PyCF_SOURCE_IS_UTF8 | PyCF_IGNORE_COOKIE, as exec() reads text. */
const COMPILER_FLAGS = 0x100 | 0x800;
const REASON_BYTES = 300;

/** Run once before programs: everything of Pyodide's is taken away, and what programs often import is there already. */
const PREPARE = `
import sys, gc

def prepare():
    import bisect, cmath, collections, collections.abc, copy, dataclasses, datetime, decimal, enum, fractions, functools
    import hashlib, heapq, inspect, io, itertools, json, math, operator, os, queue, random, re, statistics, string, textwrap
    import time, traceback, typing, unicodedata

    theirs = {"js", "pyodide_js", "pyodide", "_pyodide", "_pyodide_core"}
    for name in [name for name in sys.modules if name.split(".")[0] in theirs]:
        del sys.modules[name]
    sys.meta_path[:] = [
        finder for finder in sys.meta_path
        if getattr(finder, "__module__", type(finder).__module__).split(".")[0] not in theirs
        and type(finder).__module__.split(".")[0] not in theirs
    ]
    import builtins
    for name in [name for name in vars(builtins) if name.startswith("___")]:
        delattr(builtins, name)
    os.environ.pop("_", None)
    random.seed(0)

prepare()
del prepare
gc.collect()
`;

/**
 * @param {string} folder Pyodide's
 * @param {number} limit bytes of Python's memory at most
 * @returns {Promise<import("./emscripten.ts").Interpreter>}
 */
export async function openInterpreter(folder, limit) {
  /** @type {import("./emscripten.ts").Gate} */
  const gate = { closed: false, breach: undefined };
  const { pyodide, python, temporary } = await load(folder, gate, limit);
  const unprepared = execute(python, place(python, PREPARE));
  if (unprepared !== undefined) throw new Error(`Pyodide is not as expected: ${unprepared}`);

  const home = pyodide.FS.cwd();
  const streams = new Set(pyodide.FS.streams);
  const before = new Uint8Array(python.memory.buffer).slice();
  const timed = timedRunner();

  return {
    run(program, seconds) {
      gate.breach = undefined;
      const start = performance.now();
      try {
        const execution = place(python, program);
        gate.closed = true;
        const failure = timed(() => execute(python, execution), seconds);
        // too long a run that was not interrupted in time, as when the machine slept
        if (performance.now() - start > seconds * 1000) return failed("timed out", false);
        if (gate.breach !== undefined) return failed(`not allowed: ${gate.breach}`, false);
        return failure === undefined
          ? { passed: true, reason: "passed", reusable: isReusable() }
          : failed(`failed: ${failure}`, isReusable());
      } catch (cause) {
        return failed(gate.breach === undefined ? crash(cause) : `not allowed: ${gate.breach}`, false);
      } finally {
        gate.closed = false;
      }
    },
    restore() {
      const now = new Uint8Array(python.memory.buffer);
      now.set(before);
      now.fill(0, before.length);
      for (const stream of [...pyodide.FS.streams])
        if (stream && !streams.has(stream)) pyodide.FS.close(stream);
      pyodide.FS.chdir(home);
      temporary.clear();
    },
  };

  /** Memory never shrinks: an interpreter that became too large is better replaced than filled with zeros each time. */
  function isReusable() {
    return python.memory.buffer.byteLength <= 4 * before.length && temporary.isSmall;
  }
}

/**
 * @param {import("../checker.ts").CheckReason} reason
 * @param {boolean} reusable
 * @returns {import("./emscripten.ts").Outcome}
 */
const failed = (reason, reusable) => ({ passed: false, reason, reusable });

/**
 * @param {unknown} cause
 * @returns {import("../checker.ts").CheckReason}
 */
function crash(cause) {
  if (!(cause instanceof Error)) return "failed: the interpreter crashed";
  if ("code" in cause && cause.code === "ERR_SCRIPT_EXECUTION_TIMEOUT") return "timed out";
  return cause instanceof RangeError ? "failed: stack overflow" : "failed: the interpreter crashed";
}

/**
 * @param {string} folder
 * @param {import("./emscripten.ts").Gate} gate
 * @param {number} limit
 */
async function load(folder, gate, limit) {
  /** @type {import("./emscripten.ts").Exports | undefined} */
  let exports;
  /** @type {any} */
  let pyodide;
  const temporary = temporaryFiles(() => pyodide.FS);
  // ambient types of WebAssembly come only with those of a browser
  const { WebAssembly } = /** @type {any} */ (globalThis);
  const { instantiate } = WebAssembly;
  WebAssembly.instantiate = async (
    /** @type {unknown} */ module,
    /** @type {import("./emscripten.ts").Imports | undefined} */ imports,
  ) => {
    // a module without imports asks whether this Node has a feature
    if (imports === undefined || !("wasi_snapshot_preview1" in imports)) return instantiate(module, imports);
    const memory = () => /** @type {import("./emscripten.ts").Exports} */ (exports).memory.buffer;
    guardImports(imports, gate, { memory, limit, temporary });
    const made = await instantiate(module, imports);
    exports = (made.instance ?? made).exports;
    return made;
  };
  // what Node's permissions refuse is asked only for these numbers
  Object.defineProperty(process, "binding", { value: () => ({ fs: constants }), configurable: true });
  const { loadPyodide } = await import(pathToFileURL(join(folder, "pyodide.mjs")).href);
  pyodide = await loadPyodide({
    indexURL: folder,
    // the same order of sets in every process
    env: { HOME: "/home/pyodide", PYTHONHASHSEED: "0" },
    stdout: () => undefined,
    stderr: () => undefined,
  });
  WebAssembly.instantiate = instantiate;
  // for /dev/stdin as well
  pyodide.setStdin({ error: true });
  if (exports === undefined) throw new Error("Pyodide did not load as expected: its module was not seen");
  return { pyodide, python: exports, temporary };
}

/**
 * Runs a function at most so long. Unlike a timer, this also ends code that never returns to JavaScript's event loop, and it
 * needs no other process: one whose parent was killed does not compute forever.
 *
 * @returns {<T>(work: () => T, seconds: number) => T}
 */
function timedRunner() {
  const script = new Script("work()");
  return (work, seconds) => {
    Object.defineProperty(globalThis, "work", { value: work, configurable: true });
    return script.runInThisContext({ timeout: Math.ceil(seconds * 1000) });
  };
}

/**
 * Copies a program into Python's memory.
 *
 * @param {import("./emscripten.ts").Exports} python
 * @param {string} program
 */
function place(python, program) {
  const text = new TextEncoder().encode(program);
  const source = python.malloc(text.length + 1);
  const flags = python.malloc(8);
  if (source === 0 || flags === 0) throw new Error("no memory for the program");
  const bytes = new Uint8Array(python.memory.buffer);
  bytes.set(text, source);
  bytes[source + text.length] = 0;
  new DataView(python.memory.buffer).setInt32(flags, COMPILER_FLAGS, true);
  new DataView(python.memory.buffer).setInt32(flags + 4, 14, true);
  return { source, flags, globals: python.PyDict_New() };
}

/**
 * Runs a program as exec(program, {}) would, but no frame of ours is below it.
 *
 * @param {import("./emscripten.ts").Exports} python
 * @param {ReturnType<typeof place>} execution
 * @returns {string | undefined} the error that ended it
 */
function execute(python, { source, flags, globals }) {
  if (python.PyRun_StringFlags(source, FILE_INPUT, globals, globals, flags) !== 0) return undefined;
  const error = python.PyErr_GetRaisedException();
  if (error === 0) return "no result";
  const name = textAt(python, python.PyExceptionClass_Name(python.PyObject_Type(error)));
  // this may run code of the program, which is still behind the gate and within its time
  const text = python.PyObject_Str(error);
  const message = text === 0 ? "" : textAt(python, python.PyUnicode_AsUTF8(text));
  return message === "" ? name : `${name}: ${message}`;
}

/**
 * @param {import("./emscripten.ts").Exports} python
 * @param {number} pointer to text that ends with a zero byte; 0 is none
 */
function textAt(python, pointer) {
  if (pointer === 0) return "";
  const bytes = new Uint8Array(python.memory.buffer).subarray(pointer, pointer + REASON_BYTES);
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}
