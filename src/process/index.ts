export { type Child, moduleBeside, startChild } from "./child.ts";
export { type CallContext, serveParent } from "./serve-parent.ts";
