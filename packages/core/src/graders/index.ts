export { type Grade, grade, readSample } from "./grade.ts";
export {
  askedModels,
  checkItem,
  findExcess,
  type Grader,
  graderName,
  graderSchema,
  parseGrader,
} from "./grader.ts";
export * from "./program-checker.ts";
export { PythonGraders } from "./python.ts";
