import { availableParallelism, cpus } from "node:os";
import { MOS, shellWord } from "./terminal.ts";

/** What a result keeps of how it was made: the command as it was typed, and the machine. */
export function thisRun(): {
  readonly command: string;
  readonly environment: { readonly node: string; readonly cpu: string; readonly cores: number };
} {
  return {
    command: [MOS, ...process.argv.slice(2).map(shellWord)].join(" "),
    environment: {
      node: process.version,
      cpu: cpus()[0]?.model ?? "unknown",
      cores: availableParallelism(),
    },
  };
}
