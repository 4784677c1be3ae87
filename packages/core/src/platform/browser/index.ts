// A worker of a page; on Node, a process without a disk for tests.
import type { Platform } from "../platform.ts";
import type * as files from "./files.ts";
import type * as path from "./path.ts";
import type * as sha256 from "./sha256.ts";
import type * as system from "./system.ts";

export type { BigIntStats, FileHandle, Hash, Stats, Writer } from "../platform.ts";
export { BlobVolume } from "./blob-volume.ts";
export * from "./files.ts";
export { MemoryVolume } from "./memory-volume.ts";
export { openOpfsVolume } from "./opfs-volume.ts";
export * from "./path.ts";
export { createHash } from "./sha256.ts";
export * from "./system.ts";
export type { OpenMode, Volume, VolumeEntry, VolumeFile } from "./volume.ts";

type Checked<Whole extends Platform> = Whole;
/** What there is, checked to be all of it. */
export type BrowserPlatform = Checked<typeof files & typeof path & typeof sha256 & typeof system>;
