export { type BaseModel, type LoadOptions, loadModel } from "./base.ts";
export { wholeModel } from "./whole-model.ts";
