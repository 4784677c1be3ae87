export { type Child, moduleBeside, startChild } from "./child.ts";
export { serveParent } from "./serve-parent.ts";
