import type { OpenProgress } from "#inference";
import { formatBar, type LiveLine } from "./progress.ts";

const PHASES: Readonly<Record<OpenProgress["type"], string>> = {
  model: "loading the model",
  adapters: "looking at the adapters",
  quantize: "quantising the weights",
  compile: "compiling",
};

/** Shows how far opening an engine is. */
export const engineProgress =
  (line: LiveLine) =>
  ({ type, done, total }: OpenProgress): void =>
    line.update(`${PHASES[type]} ${formatBar(done / Math.max(1, total), 24)} ${done} of ${total}`);
