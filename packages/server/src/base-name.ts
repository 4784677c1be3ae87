import { isAbsolute } from "node:path";

/** The base's name as a file of an adapter has it. The trainer may have written a path, which is nobody else's business; a name of the Hub stays whole. */
export const baseName = (name: string): string =>
  isAbsolute(name) || /^\.|^[A-Za-z]:|\\/.test(name) ? (name.split(/[/\\]/).at(-1) ?? "") : name;
