export {
  type CompiledSource,
  GrammarCompiler,
  type GrammarCompilerOptions,
  type GrammarCompilerStats,
} from "./compiler.ts";
export { grammarFromSource } from "./source.ts";
