// Node's own functions.
import * as crypto from "node:crypto";
import { setMaxListeners } from "node:events";
import * as files from "node:fs";
import * as fs from "node:fs/promises";
import * as os from "node:os";
import * as paths from "node:path";
import * as timers from "node:timers/promises";
import * as v8 from "node:v8";
import type { Platform } from "../platform.ts";
import * as timeout from "./timeout.ts";
import * as writers from "./writers.ts";

export type { BigIntStats, FileHandle, Hash, Stats, Writer } from "../platform.ts";

const node: Platform = {
  ...paths,
  ...fs,
  ...os,
  ...timeout,
  ...writers,
  constants: files.constants,
  glob: async (pattern, options) => (await import("tinyglobby")).glob(pattern, options),
  readFileSync: files.readFileSync,
  readSync: files.readSync,
  statfs: (path) => fs.statfs(path), // as it is by then, since tests fill disks
  process: globalThis.process,
  nextTurn: () => timers.setImmediate(),
  sleep: (milliseconds, options) => timers.setTimeout(milliseconds, undefined, options),
  unref: (timer) => timer.unref(),
  createHash: crypto.createHash,
  deserialize: v8.deserialize,
  randomUUID: crypto.randomUUID,
  setMaxListeners,
};

// no more than the browser has, and with its types
export const { basename, dirname, extname, isAbsolute, join, resolve } = node;
export const { access, chmod, constants, copyFile, glob, link, lstat, mkdir, mkdtemp, open, readdir } = node;
export const { readFile, readFileSync, readlink, readSync, realpath, rename, rm, rmdir, stat, statfs } = node;
export const { symlink, utimes } = node;
export const { availableParallelism, freemem, hasWriterEnded, hostname, process, thisWriter, tmpdir } = node;
export const { nextTurn, runWithTimeout, sleep, unref } = node;
export const { createHash, deserialize, randomUUID } = node;
export { setMaxListeners };
