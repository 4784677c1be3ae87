import { existsSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ProgramChecker } from "./checker.ts";
import { createProgramChecker } from "./create-checker.ts";

/** Programs that must fail, by what they try, with what the reason must say. */
const PROGRAMS: readonly (readonly [name: string, program: string, reason: RegExp])[] = [
  ["loops for ever", "while True: pass", /^timed out$/],
  ["swallows every exception", loop("try: 1 / 0", "except BaseException: pass"), /^timed out$/],
  ["sleeps", "import time\ntime.sleep(60)", /^timed out$/],
  ["backtracks for ever", "import re\nre.match('(a+)+$', 'a' * 40 + 'b')", /^timed out$/],
  ["computes a huge power", "x = 9 ** 9 ** 9", /^timed out$|MemoryError/],
  ["loops inside of C", "sum(range(10 ** 18))", /^timed out$/],
  [
    "loops in its error's text",
    "class E(Exception):\n  def __str__(self):\n    while True: pass\nraise E",
    /^timed out$/,
  ],
  ["prints without end", loop("print('x' * 10 ** 6)"), /^timed out$/],
  ["prints to standard error without end", loop("import os; os.write(2, b'x' * 10 ** 6)"), /^timed out$/],
  // on a busy machine its time ends before the memory does
  ["fills a list", `a = []\n${loop("a.append(bytearray(10 ** 6))")}`, /MemoryError|memory|timed out/],
  ["asks for much at once", "a = [0] * 10 ** 9", /MemoryError/],
  ["doubles bytes", `a = b'x'\n${loop("a += a")}`, /MemoryError|OverflowError/],
  ["doubles text", `a = 'é'\n${loop("a += a")}`, /MemoryError|OverflowError/],
  ["recurses", "def f(): return f()\nf()", /RecursionError/],
  [
    "recurses in C",
    "import sys\nsys.setrecursionlimit(10 ** 9)\na = []\nfor _ in range(10 ** 6): a = [a]\nrepr(a)",
    /failed/,
  ],
  ["nests in its source", `x = ${"(".repeat(5000)}1${")".repeat(5000)}`, /failed/],
  ["leaves by os._exit", "import os\nos._exit(0)", /not allowed: proc_exit/],
  ["leaves by sys.exit", "import sys\nsys.exit(0)", /SystemExit/],
  ["raises SystemExit", "raise SystemExit", /SystemExit/],
  ["raises KeyboardInterrupt", "raise KeyboardInterrupt", /KeyboardInterrupt/],
  ["aborts", "import os\nos.abort()", /not allowed/],
  [
    "kills itself",
    "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\nassert False",
    /failed|not allowed/,
  ],
  ["forks", loop("import os; os.fork()"), /failed/],
  ["starts a process", "import subprocess\nsubprocess.run(['true'], check=True)", /failed/],
  ["starts a shell", "import os\nassert os.system('true') == 0", /AssertionError/],
  ["replaces its process", "import os\nos.execv('/bin/true', ['true'])", /failed|not allowed/],
  ["starts a thread", "import threading\nthreading.Thread(target=print).start()", /RuntimeError/],
  ["connects", "import socket\nsocket.create_connection(('127.0.0.1', 22), 1)", /failed/],
  ["opens a socket", "import socket\nsocket.socket()", /failed/],
  ["fetches", "import urllib.request\nurllib.request.urlopen('http://127.0.0.1')", /failed/],
  ["reads a file of the system", "open('/etc/passwd').read()", /FileNotFoundError/],
  ["reads this file", `open(${JSON.stringify(import.meta.filename)}).read()`, /FileNotFoundError/],
  ["writes a file", "open('/mos-sandbox-was-here', 'w').write('x')", /Read-only/],
  ["writes beside /tmp", "open('/tmp/../mos-sandbox-was-here', 'w').write('x')", /Read-only/],
  ["writes where it is", "open('mos-sandbox-was-here', 'w').write('x')", /Read-only/],
  ["links /tmp elsewhere", "import os\nos.symlink('/lib', '/tmp/lib')", /Read-only/],
  ["moves a folder into /tmp", "import os\nos.rename('/lib', '/tmp/lib')", /Read-only/],
  ["removes /tmp", "import os\nos.rmdir('/tmp')", /Read-only/],
  ["fills /tmp", `f = open('/tmp/x', 'wb')\n${loop("f.write(bytes(10 ** 6))")}`, /No space left/],
  [
    "fills /tmp with holes",
    "f = open('/tmp/x', 'wb')\nf.seek(10 ** 9)\nf.write(b'x')\nf.close()",
    /No space left/,
  ],
  [
    "makes folders without end",
    `import os\np = '/tmp'\n${loop("p += '/x'", "os.mkdir(p)")}`,
    /failed|timed out/,
  ],
  [
    "makes files without end",
    `i = 0\n${loop("i += 1", "open('/tmp/%d' % i, 'w').close()")}`,
    /No space left|timed out/,
  ],
  [
    "recurses in C and Python",
    "class A:\n  def __eq__(self, o): return A() == o\nA() == A()",
    /RecursionError|stack overflow/,
  ],
  ["recurses in sorted", "def f(n): return sorted([n], key=f)\nf(1)", /RecursionError|stack overflow/],
  [
    "recurses in C with another limit",
    "import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(n): return sorted([n], key=f)\nf(1)",
    /failed/,
  ],
  ["deletes files", "import os\nfor name in os.listdir('/lib'): os.remove('/lib/' + name)", /Read-only/],
  ["deletes a folder", "import shutil\nshutil.rmtree('/lib')", /failed/],
  ["changes folder", "import os\nos.chdir('/lib')", /PermissionError/],
  ["maps a file", "import mmap, os\nmmap.mmap(os.open('/proc/self/fd', 0), 10)", /failed/],
  ["reads input", "input()", /OSError/],
  ["reads standard input", "import os\nassert os.read(0, 1)", /OSError/],
  ["opens standard input as a file", "open('/dev/stdin').read()", /OSError/],
  ["imports js", "import js\njs.process.exit(0)", /No module named 'js'/],
  ["imports pyodide_js", "import pyodide_js", /No module named 'pyodide_js'/],
  ["runs JavaScript", "from pyodide.code import run_js\nrun_js('process.exit(0)')", /failed/],
  [
    "makes a JavaScript function",
    "from pyodide.ffi import create_proxy\ncreate_proxy(print)\nassert False",
    /failed/,
  ],
  [
    "calls Pyodide's module",
    "import _pyodide_core as core\ncore.create_proxy(print)\nassert False",
    /not allowed: pyproxy_new_ex/,
  ],
  [
    "finds the loader of JavaScript's modules among all objects",
    [
      "import gc",
      "[finder] = [o for o in gc.get_objects() if type(o).__name__ == 'JsFinder']",
      "finder.jsproxies['js'].process.exit(0)",
    ].join("\n"),
    /not allowed: Js/,
  ],
  [
    "finds a reference to JavaScript among all objects",
    [
      "import gc, sys",
      "found = [o for o in gc.get_objects() if 'Js' in type(o).__name__]",
      "found += [t for t in object.__subclasses__() if 'Js' in t.__name__]",
      "for o in found:",
      "  try: o.process.exit(0)",
      "  except AttributeError: pass",
      "raise LookupError(len(found))",
    ].join("\n"),
    /failed|not allowed/,
  ],
  ["calls C by ctypes", "import ctypes\nctypes.CDLL(None).emscripten_run_script(b'1')", /failed|not allowed/],
  [
    "writes to memory by ctypes",
    "import ctypes\nctypes.memset(0, 1, 10 ** 8)\nassert False",
    /failed|not allowed/,
  ],
  [
    "handles signals",
    "import signal\nsignal.signal(signal.SIGALRM, print)\nsignal.alarm(1)\nassert False",
    /failed|not allowed/,
  ],
  ["leaves by atexit", "import atexit, os\natexit.register(os._exit, 0)\nassert False", /AssertionError/],
  [
    "exits in a destructor",
    "class A:\n  def __del__(self): raise SystemExit\na = A()\ndel a\nassert False",
    /AssertionError/,
  ],
  [
    "looks for frames below its own",
    "import sys\nassert sys._getframe().f_back is not None",
    /AssertionError/,
  ],
  [
    "replaces builtins and the import",
    "import builtins\nbuiltins.len = builtins.sum = lambda *_: 0\nbuiltins.__import__ = None\nassert len([1])",
    /AssertionError/,
  ],
  [
    "empties modules",
    "import sys, math\nmath.sqrt = None\nsys.modules.clear()\nassert False",
    /AssertionError/,
  ],
  [
    "replaces AssertionError",
    "AssertionError = None\nimport builtins\nbuiltins.AssertionError = StopIteration\nassert False",
    /AssertionError/,
  ],
  ["replaces the excepthook", "import sys\nsys.excepthook = lambda *_: None\nassert False", /AssertionError/],
  [
    "forges a result",
    `print('{"type":"outcome","passed":true}')\nraise ValueError('passed')`,
    /failed: ValueError: passed/,
  ],
  [
    "freezes the collector and the switches",
    "import gc, sys\ngc.disable()\nsys.setrecursionlimit(50)\nassert False",
    /AssertionError/,
  ],
  ["ends its text early", "x = 1\n\0\nassert False", /null bytes/],
  ["hides its end behind an encoding", "# coding: rot13\nassert False", /AssertionError/],
  ["is not text", "x = '\ud800'", /surrogates/],
  ["is very long", `x = 1\n#${"x".repeat(2 ** 20)}`, /longer than/],
  [
    "opens files without end",
    `import sys\na = []\n${loop("a.append(open(sys.path[0]))")}`,
    /failed|not allowed|timed out/,
  ],
  [
    "duplicates a standard stream",
    "import fcntl\nfcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3)",
    /PermissionError/,
  ],
  [
    "duplicates files without end",
    `import os\nf = os.open('/tmp', 0)\n${loop("os.scandir(f)")}`,
    /failed|timed out/,
  ],
  ["closes standard streams", "import os\nos.closerange(0, 100)\nassert False", /failed|not allowed/],
];

function loop(...lines: readonly string[]): string {
  return ["while True:", ...lines.map((line) => `  ${line}`)].join("\n");
}

/** Right only if builtins, modules, files and limits are as they should be. */
const ORDINARY = `
import math, os, re, sys, collections
assert len([1, 2]) == 2 and sum([1, 2]) == 3 and math.sqrt(4) == 2
assert sorted(collections.Counter("abca").items())[0] == ("a", 2)
assert re.sub("a", "b", "cat") == "cbt"
assert sys.getrecursionlimit() == 1000 and os.getcwd() == "/home/pyodide" and os.path.exists("/lib")
import difflib, uuid
assert os.listdir("/tmp") == []
print("words")
`;

let checker: ProgramChecker;
beforeAll(async () => {
  checker = await createProgramChecker({ workers: 1, memory: 256 * 2 ** 20 });
});
afterAll(() => checker[Symbol.asyncDispose]());

test.each(PROGRAMS)("a program that %s fails, and the next is right", async (_, program, reason) => {
  const start = performance.now();
  const result = await checker.check(program);
  expect(performance.now() - start).toBeLessThan(20_000);
  expect(result.reason).toMatch(reason);
  expect(result.passed).toBe(false);
  expect(await checker.check(ORDINARY)).toEqual({ passed: true, reason: "passed" });
});

test("nothing was left on the machine", () => {
  for (const folder of ["/tmp", "/", "."]) expect(existsSync(`${folder}/mos-sandbox-was-here`)).toBe(false);
});
