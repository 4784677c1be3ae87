// A page has no threads with limits of memory yet, so grammars of others are not compiled there.
import { GrammarError } from "#grammar";
import type { GrammarCompilerStats } from "./compiler.ts";

export { grammarFromSource } from "./assemble.ts";
export type {
  CompiledSource,
  CompileOptions,
  GrammarCompilerOptions,
  GrammarCompilerStats,
} from "./compiler.ts";

/** Refuses what it is given. */
export class GrammarCompiler implements AsyncDisposable {
  /** @throws GrammarError `unsupported`. */
  async compile(): Promise<never> {
    throw new GrammarError("unsupported", "answers cannot be constrained by grammars in a browser yet");
  }

  stats(): GrammarCompilerStats {
    const seconds = { bounds: [], counts: [], sum: 0 };
    return { compiles: 0, hits: 0, refusals: {}, seconds, cachedGrammars: 0, cachedBytes: 0, threads: 0 };
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}
