// Paths as on POSIX: a page has no other. The working folder is the root.

/** The parts of a path without "." and empty ones, and ".." as far as it can be resolved. */
function normalParts(path: string): readonly string[] {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    const isUp = part === ".." && parts.length > 0 && parts.at(-1) !== "..";
    if (isUp) parts.pop();
    else if (part !== ".." || !isAbsolute(path)) parts.push(part);
  }
  return parts;
}

export const isAbsolute = (path: string): boolean => path.startsWith("/");

/** The parts of a path from the root on. */
export const partsOf = (path: string): readonly string[] => normalParts(`/${path}`);

export function join(...parts: string[]): string {
  const path = parts.filter((part) => part !== "").join("/");
  if (path === "") return ".";
  const inner = normalParts(path).join("/");
  const end = path.endsWith("/") && inner !== "" ? "/" : "";
  if (isAbsolute(path)) return `/${inner}${end}`;
  return inner === "" ? (path.endsWith("/") ? "./" : ".") : `${inner}${end}`;
}

export function resolve(...parts: string[]): string {
  const last = parts.findLastIndex(isAbsolute);
  return `/${partsOf(parts.slice(Math.max(0, last)).join("/")).join("/")}`;
}

const withoutEndSlashes = (path: string): string => path.replace(/(?<!\/)\/+$/, "") || path.slice(0, 1);

export function dirname(path: string): string {
  const own = withoutEndSlashes(path);
  const end = own.lastIndexOf("/");
  if (end < 0) return ".";
  return end === 0 ? "/" : own.slice(0, end);
}

export function basename(path: string): string {
  const own = withoutEndSlashes(path);
  return own === "/" ? "" : own.slice(own.lastIndexOf("/") + 1);
}

export function extname(path: string): string {
  const name = basename(path);
  const dot = name.lastIndexOf(".");
  return dot <= 0 || name === ".." ? "" : name.slice(dot);
}
