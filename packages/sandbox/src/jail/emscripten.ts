// The shapes that the jail's files share. They run as they stand, without a loader, so they are JavaScript.
import type { CheckResult } from "../checker.ts";

/** A function that the WebAssembly module imports. Its arguments are numbers, or references that only pass through. */
export type Import = (...args: number[]) => unknown;
/** Substitute of an import while a program runs. */
export type Answer = (real: Import, args: readonly number[], memory: () => ArrayBuffer) => unknown;
export type Imports = Record<string, Record<string, unknown>>;

/** Closed while a program runs. */
export interface Gate {
  closed: boolean;
  /** The first import that a program reached for and may not have. */
  breach: string | undefined;
}

/** Members of Emscripten's file system that the jail uses. */
export interface FileSystem {
  cwd(): string;
  readdir(path: string): readonly string[];
  lstat(path: string): { readonly mode: number };
  isDir(mode: number): boolean;
  rmdir(path: string): void;
  unlink(path: string): void;
  getStream(descriptor: number):
    | {
        readonly path?: string;
        readonly flags: number;
        readonly position: number;
        readonly node?: { readonly usedBytes?: number };
      }
    | null
    | undefined;
}

/** The files that a program may write. */
export interface TemporaryFiles {
  /** In place of the imports that change files. */
  readonly answers: Readonly<Record<string, Answer>>;
  /** True if `clear` is quick. */
  readonly isSmall: boolean;
  /** Removes all. No file may be open. */
  clear(): void;
}

/** Members of Python's C API and the C library, as the module exports them; pointers are numbers. */
export interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer };
  malloc(bytes: number): number;
  PyDict_New(): number;
  PyRun_StringFlags(source: number, start: number, globals: number, locals: number, flags: number): number;
  PyErr_GetRaisedException(): number;
  PyObject_Type(object: number): number;
  PyExceptionClass_Name(type: number): number;
  PyObject_Str(object: number): number;
  PyUnicode_AsUTF8(text: number): number;
}

export interface Outcome extends CheckResult {
  /** False where the interpreter may no longer be as it was. */
  readonly reusable: boolean;
}

/** An interpreter that is the same again for every program. */
export interface Interpreter {
  run(program: string, seconds: number): Outcome;
  /** Puts everything back as it was before the first program. */
  restore(): void;
}

export type ToJail = {
  readonly type: "run";
  /** A secret of this run: JavaScript knows it, Python's memory never holds it. */
  readonly id: string;
  readonly program: string;
  readonly seconds: number;
};

export type FromJail =
  | { readonly type: "ready" }
  /** The message is one line. */
  | { readonly type: "refused"; readonly message: string; readonly stack?: string }
  | ({ readonly type: "outcome"; readonly id: string } & Outcome);
