// @ts-check
// The process in which programs run. Arguments: Pyodide's folder, bytes of memory. ../jailed-worker.ts is its other end.
import { harden } from "./harden.js";
import { openInterpreter } from "./interpreter.js";

// Ctrl-C reaches the whole group of processes: the other end decides what it means
process.on("SIGINT", () => undefined);
process.on("disconnect", () => process.exit());

const [folder = "", memory] = process.argv.slice(2);
try {
  const interpreter = await openInterpreter(folder, Number(memory));
  const tell = harden();
  process.on("message", (/** @type {import("./types.ts").ToJail} */ { id, program, seconds }) => {
    const outcome = interpreter.run(program, seconds);
    tell({ type: "outcome", id, ...outcome });
    if (outcome.reusable) interpreter.restore();
  });
  tell({ type: "ready" });
} catch (cause) {
  const { message, stack } = cause instanceof Error ? cause : new Error(String(cause));
  process.send?.({ type: "refused", message: message.split("\n", 1)[0], stack }, () => process.exit(1));
}
