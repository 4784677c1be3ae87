// Node's own functions.
import * as crypto from "node:crypto";
import { setMaxListeners as setMost } from "node:events";
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

export const basename: Platform["basename"] = paths.basename;
export const dirname: Platform["dirname"] = paths.dirname;
export const extname: Platform["extname"] = paths.extname;
export const isAbsolute: Platform["isAbsolute"] = paths.isAbsolute;
export const join: Platform["join"] = paths.join;
export const resolve: Platform["resolve"] = paths.resolve;

export const access: Platform["access"] = fs.access;
export const chmod: Platform["chmod"] = fs.chmod;
export const constants: Platform["constants"] = files.constants;
export const copyFile: Platform["copyFile"] = fs.copyFile;
export const glob: Platform["glob"] = async (pattern, options) =>
  (await import("tinyglobby")).glob(pattern, options);
export const link: Platform["link"] = fs.link;
export const lstat: Platform["lstat"] = fs.lstat;
export const mkdir: Platform["mkdir"] = fs.mkdir;
export const mkdtemp: Platform["mkdtemp"] = fs.mkdtemp;
export const open: Platform["open"] = fs.open;
export const readdir: Platform["readdir"] = fs.readdir;
export const readFile: Platform["readFile"] = fs.readFile;
export const readFileSync: Platform["readFileSync"] = files.readFileSync;
export const readlink: Platform["readlink"] = fs.readlink;
export const readSync: Platform["readSync"] = files.readSync;
export const realpath: Platform["realpath"] = fs.realpath;
export const rename: Platform["rename"] = fs.rename;
export const rm: Platform["rm"] = fs.rm;
export const rmdir: Platform["rmdir"] = fs.rmdir;
export const stat: Platform["stat"] = fs.stat;
export const statfs: Platform["statfs"] = (path) => fs.statfs(path); // as it is by then, since tests fill disks
export const symlink: Platform["symlink"] = fs.symlink;
export const utimes: Platform["utimes"] = fs.utimes;

export const availableParallelism: Platform["availableParallelism"] = os.availableParallelism;
export const freemem: Platform["freemem"] = os.freemem;
export const hasWriterEnded: Platform["hasWriterEnded"] = writers.hasWriterEnded;
export const hostname: Platform["hostname"] = os.hostname;
export const process: Platform["process"] = globalThis.process;
export const thisWriter: Platform["thisWriter"] = writers.thisWriter;
export const tmpdir: Platform["tmpdir"] = os.tmpdir;

export const nextTurn: Platform["nextTurn"] = () => timers.setImmediate();
export const runWithTimeout: Platform["runWithTimeout"] = timeout.runWithTimeout;
export const sleep: Platform["sleep"] = (milliseconds, options) =>
  timers.setTimeout(milliseconds, undefined, options);
export const unref: Platform["unref"] = (timer) => timer.unref();

export const createHash: Platform["createHash"] = crypto.createHash;
export const deserialize: Platform["deserialize"] = v8.deserialize;
export const randomUUID: Platform["randomUUID"] = crypto.randomUUID;
export const setMaxListeners: Platform["setMaxListeners"] = setMost;
