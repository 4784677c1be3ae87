export {
  type CompiledSource,
  type CompileOptions,
  GrammarCompiler,
  type GrammarCompilerOptions,
  type GrammarCompilerStats,
} from "./compiler.ts";
export { grammarFromSource } from "./source.ts";
