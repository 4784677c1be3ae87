// @ts-check

const AMBIENT = [
  ...["fetch", "WebSocket", "EventSource", "XMLHttpRequest", "WebAssembly", "Worker", "BroadcastChannel"],
  ...["Request", "Response", "MessageChannel", "require"],
];
const OF_PROCESS = [
  ...["send", "binding", "_linkedBinding", "dlopen", "getBuiltinModule", "kill", "_kill", "abort", "chdir"],
  ...["mainModule", "setuid", "setgid", "openStdin", "_startProfilerIdleNotifier", "_debugProcess"],
];

/**
 * A second wall, behind that of the imports: what JavaScript could use to reach the system is taken away. Files and processes
 * are refused by Node's own permissions, code from text by an option of V8.
 *
 * @returns {(message: import("./types.ts").FromJail) => void} the only way out
 */
export function harden() {
  const send = process.send?.bind(process);
  for (const name of AMBIENT) Reflect.deleteProperty(globalThis, name);
  for (const name of OF_PROCESS) {
    Reflect.deleteProperty(process, name);
    Object.defineProperty(process, name, { value: undefined, writable: false, configurable: false });
  }
  return (message) => void send?.(message, () => undefined);
}
