// @ts-check
// The process in which programs run. Arguments: Pyodide's folder, bytes of memory. ../jailed-worker.ts is its other end.
import { openInterpreter } from "./interpreter.js";

const AMBIENT = [
  ...["fetch", "WebSocket", "EventSource", "XMLHttpRequest", "WebAssembly", "Worker", "BroadcastChannel"],
  ...["Request", "Response", "MessageChannel", "require"],
];
const OF_PROCESS = [
  ...["send", "binding", "_linkedBinding", "dlopen", "getBuiltinModule", "kill", "_kill", "abort", "chdir"],
  ...["mainModule", "setuid", "setgid", "openStdin", "_startProfilerIdleNotifier", "_debugProcess"],
];

// Ctrl-C reaches the whole group of processes: the other end decides what it means
process.on("SIGINT", () => undefined);
process.on("disconnect", () => process.exit());

const [folder = "", memory] = process.argv.slice(2);
try {
  const interpreter = await openInterpreter(folder, Number(memory));
  const tell = harden();
  process.on("message", (/** @type {import("./emscripten.ts").ToJail} */ { id, program, seconds }) => {
    const outcome = interpreter.run(program, seconds);
    tell({ type: "outcome", id, ...outcome });
    if (outcome.reusable) interpreter.restore();
  });
  tell({ type: "ready" });
} catch (cause) {
  const { message, stack } = cause instanceof Error ? cause : new Error(String(cause));
  process.send?.({ type: "refused", message: message.split("\n", 1)[0], stack }, () => process.exit(1));
}

/**
 * A second wall, behind that of the imports: what JavaScript could use to reach the system is taken away. Files and processes
 * are refused by Node's own permissions, code from text by an option of V8.
 *
 * @returns {(message: import("./emscripten.ts").FromJail) => void} the only way out
 */
function harden() {
  const send = process.send?.bind(process);
  for (const name of AMBIENT) Reflect.deleteProperty(globalThis, name);
  for (const name of OF_PROCESS) {
    Reflect.deleteProperty(process, name);
    Object.defineProperty(process, name, { value: undefined, writable: false, configurable: false });
  }
  return (message) => void send?.(message, () => undefined);
}
