// Replaces functions of Node's modules for one file of tests, also in modules that were loaded before: the files of one
// process share what it has loaded, so vi.mock, which loads all again, would need a process of its own.
import processes, { type ChildProcess, type ForkOptions } from "node:child_process";
import { syncBuiltinESMExports } from "node:module";
import { afterAll } from "vitest";

/** Puts a function in the place of another until the file ends. Call it at the top of the file, with the module's default export. */
export function replaceBuiltin<Module extends object, Name extends keyof Module>(
  module: Module,
  name: Name,
  make: (real: Module[Name]) => Module[Name],
): void {
  const real = module[name];
  module[name] = make(real);
  syncBuiltinESMExports();
  afterAll(() => {
    module[name] = real;
    syncBuiltinESMExports();
  });
}

/** The processes that the file forks, in order. */
export function recordForks(): readonly ChildProcess[] {
  const children: ChildProcess[] = [];
  replaceBuiltin(processes, "fork", (fork) => {
    const record = (...args: [string, readonly string[], ForkOptions]): ChildProcess => {
      const child = fork(...args);
      children.push(child);
      return child;
    };
    return record as typeof fork;
  });
  return children;
}
