export { grammarFromSource } from "./assemble.ts";
export {
  type CompiledSource,
  type CompileOptions,
  GrammarCompiler,
  type GrammarCompilerOptions,
  type GrammarCompilerStats,
} from "./compiler.ts";
