// @ts-check
// The wall. Whatever Python does outside of its own memory goes through a function that the WebAssembly module imports from
// JavaScript. While a program runs, only those named here work; this holds even where a program corrupts its memory on purpose.
import { sumLengths } from "./temporary.js";

/** Act on Python's memory, clocks, random numbers, and files that were in it from the start. */
const ALLOWED = new Set([
  ...["_PyEM_TrampolineCall_JS", "_Py_CheckEmscriptenSignals_Helper", "_Py_emscripten_runtime"],
  ...["emscripten_date_now", "emscripten_get_now", "emscripten_get_heap_max"],
  ...["_tzset_js", "_timegm_js", "_mktime_js", "_localtime_js", "_gmtime_js"],
  ...["clock_res_get", "clock_time_get", "random_get"],
  ...["__syscall_stat64", "__syscall_lstat64", "__syscall_fstat64", "__syscall_newfstatat"],
  ...["__syscall_faccessat", "__syscall_readlinkat", "__syscall_getcwd", "__syscall_getdents64"],
  ...["__syscall_statfs64", "__syscall_fstatfs64", "__syscall_getuid32_js", "__syscall_ioctl"],
  ...["fd_seek", "fd_pread", "fd_fdstat_get"],
]);

// Emscripten's numbers, which are WASI's
const INPUT_OUTPUT = 29;
const NOT_PERMITTED = 63;
const READ_ONLY = 69;

const STANDARD = 2;
/** F_GETFD, F_SETFD (nothing happens) and F_GETFL. */
const HARMLESS_CONTROLS = new Set([1, 2, 3]);
/** F_DUPFD and F_DUPFD_CLOEXEC, by which Python lists an open folder. */
const DUPLICATES = new Set([0, 1030]);

/** @type {import("./emscripten.ts").Answer} */
const notPermitted = () => -NOT_PERMITTED;
/** @type {import("./emscripten.ts").Answer} */
const readOnly = () => -READ_ONLY;

/**
 * Answers to calls that programs may well try: refusals as an operating system makes them, so that programs continue or fail.
 *
 * @type {Readonly<Record<string, import("./emscripten.ts").Answer>>}
 */
const ANSWERS = {
  __syscall_fcntl64: (real, args) => {
    const [descriptor = 0, control = 0] = args;
    const isHarmless = HARMLESS_CONTROLS.has(control) || (DUPLICATES.has(control) && descriptor > STANDARD);
    return isHarmless ? real(...args) : -NOT_PERMITTED;
  },
  fd_read: (real, args) => ((args[0] ?? 0) <= STANDARD ? INPUT_OUTPUT : real(...args)),
  fd_close: (real, args) => ((args[0] ?? 0) <= STANDARD ? 0 : real(...args)),
  fd_sync: () => 0,
  __syscall_mknodat: readOnly,
  __syscall_symlinkat: readOnly,
  __syscall_chmod: readOnly,
  __syscall_fchmod: readOnly,
  __syscall_fchmodat2: readOnly,
  __syscall_fchownat: readOnly,
  __syscall_fchown32: readOnly,
  __syscall_truncate64: readOnly,
  __syscall_fallocate: readOnly,
  __syscall_utimensat: readOnly,
  __syscall_chdir: notPermitted,
  __syscall_fchdir: notPermitted,
  __syscall_umask_js: notPermitted,
  __syscall_dup: notPermitted,
  __syscall_dup3: notPermitted,
  __syscall_pipe: notPermitted,
  __syscall_poll: notPermitted,
  __syscall_socket: notPermitted,
  // the shell's status of a command that cannot be run
  _emscripten_system: () => 126 << 8,
  _mmap_js: notPermitted,
  // EAI_FAIL
  getaddrinfo: () => -4,
  // sleeping waits here instead of in JavaScript
  can_run_sync_js: () => 0,
  _try_fcntl64: () => 0,
  _maybe_poll_async: () => null,
};

/**
 * Output: says that all was written, and forgets it.
 *
 * @type {import("./emscripten.ts").Answer}
 */
function swallow(_real, [, vectors = 0, count = 0, result = 0], memory) {
  new DataView(memory()).setUint32(result >>> 0, sumLengths(memory(), vectors, count), true);
  return 0;
}

/**
 * @param {import("./emscripten.ts").TemporaryFiles} temporary
 * @returns {Readonly<Record<string, import("./emscripten.ts").Answer>>}
 */
function answersWith({ answers }) {
  const { fd_write: write = notPermitted } = answers;
  return {
    ...ANSWERS,
    ...answers,
    fd_write: (real, args, memory) =>
      [1, STANDARD].includes(args[0] ?? 0) ? swallow(real, args, memory) : write(real, args, memory),
  };
}

/**
 * Puts the imports of the module behind a gate, in place: Emscripten's table of functions is filled from the same objects.
 * Open, everything is passed on, since Pyodide needs it to load; only memory has its limit from the start.
 *
 * @param {import("./emscripten.ts").Imports} imports
 * @param {import("./emscripten.ts").Gate} gate
 * @param {{ memory: () => ArrayBuffer, limit: number, temporary: import("./emscripten.ts").TemporaryFiles }} options `limit`: bytes
 *   of memory at most
 */
export function guardImports(imports, gate, { memory, limit, temporary }) {
  const answers = answersWith(temporary);
  // the modules of a name that starts with GOT hold addresses, which are made as they are asked for
  const objects = new Set(
    Object.entries(imports).flatMap(([name, object]) => (name.startsWith("GOT.") ? [] : [object])),
  );
  for (const object of objects)
    for (const [name, value] of Object.entries(object)) {
      if (typeof value !== "function" || ALLOWED.has(name)) continue;
      const real = /** @type {import("./emscripten.ts").Import} */ (value);
      const guarded = name === GROW ? limitGrowth(real, limit) : guard(name, real, { gate, memory, answers });
      // Emscripten notes a function's signature on it
      object[name] = Object.assign(guarded, real);
    }
}

const GROW = "emscripten_resize_heap";

/**
 * @param {import("./emscripten.ts").Import} grow
 * @param {number} limit
 * @returns {import("./emscripten.ts").Import}
 */
function limitGrowth(grow, limit) {
  // memory grows by up to a fifth more than is asked for
  return (size = 0) => (size >>> 0 > limit / 1.2 ? 0 : grow(size));
}

/**
 * @param {string} name
 * @param {import("./emscripten.ts").Import} real
 * @param {{
 *   gate: import("./emscripten.ts").Gate,
 *   memory: () => ArrayBuffer,
 *   answers: Readonly<Record<string, import("./emscripten.ts").Answer>>,
 * }} options
 * @returns {import("./emscripten.ts").Import}
 */
function guard(name, real, { gate, memory, answers }) {
  const answer = Object.hasOwn(answers, name) ? answers[name] : undefined;
  return (...args) => {
    if (!gate.closed) return real(...args);
    if (answer !== undefined) return answer(real, args, memory);
    // remembered as well as thrown: whatever catches it, this program has failed
    gate.breach ??= name;
    throw new Error(`${name} is not for programs`);
  };
}
