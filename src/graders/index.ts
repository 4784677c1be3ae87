export { chatEndpoint } from "./endpoint.ts";
export { type Grade, type GradeErrors, type GradeOptions, grade, readSample } from "./grade.ts";
export { checkItem, type Grader, graderName, graderSchema, parseGrader } from "./grader.ts";
export { PythonGraders } from "./python.ts";
export type { ScoreModel, ScoreReply, ScoreRequest } from "./score-model.ts";
export type { GradeInput, Sample } from "./template.ts";
