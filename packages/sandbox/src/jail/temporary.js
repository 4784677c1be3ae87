// @ts-check
// Writable files of programs: those below /tmp of the interpreter's own file system, which is memory. They have a size in all, and
// are gone after each program.

const FOLDER = "/tmp";
const LIMIT = 32 * 2 ** 20;
/** Bytes that a file or folder counts for itself. */
const ENTRY = 4096;
/** More than this is not worth clearing away: a new process is sooner there. */
const SMALL = 2 ** 20;

/** AT_FDCWD: relative to the current folder. */
const HERE = -100;
// Emscripten's numbers, which are WASI's
const BAD_DESCRIPTOR = 8;
const NO_SPACE = 51;
const READ_ONLY = 69;

const STANDARD = 2;
/** O_WRONLY, O_RDWR, O_CREAT, O_TRUNC and O_APPEND of Emscripten. */
const WRITING = 0o1 | 0o2 | 0o100 | 0o1000 | 0o2000;
const APPENDING = 0o2000;

/**
 * @param {() => import("./emscripten.ts").FileSystem} files known when Python is loaded
 * @returns {import("./emscripten.ts").TemporaryFiles}
 */
export function temporaryFiles(files) {
  let used = 0;

  /** @param {number} bytes */
  const takes = (bytes) => {
    if (used + bytes > LIMIT) return false;
    used += bytes;
    return true;
  };

  /**
   * Tests whether a path leads below the folder. There are no links there, and none can be made, so its text is enough.
   *
   * @param {() => ArrayBuffer} memory
   * @param {number} descriptor of a folder
   * @param {number} [pointer] to the path
   */
  function isBelow(memory, descriptor, pointer = 0) {
    const path = textAt(memory(), pointer >>> 0);
    const base = descriptor === HERE ? files().cwd() : files().getStream(descriptor)?.path;
    return leadsBelow(path.startsWith("/") ? path : `${base ?? ""}/${path}`);
  }

  /**
   * @param {number} descriptor
   * @param {number} end where what is written ends; it may begin behind the end of the file
   */
  function grows(descriptor, end) {
    const size = files().getStream(descriptor)?.node?.usedBytes ?? 0;
    return takes(Math.max(0, end - size));
  }

  /** @type {import("./emscripten.ts").Answer} */
  function write(real, args, memory) {
    const [descriptor = 0, vectors = 0, count = 0, offset] = args;
    const stream = files().getStream(descriptor);
    if (descriptor <= STANDARD || stream === undefined || stream === null) return BAD_DESCRIPTOR;
    const start = (stream.flags & APPENDING) !== 0 ? (stream.node?.usedBytes ?? 0) : stream.position;
    // fd_pwrite has a place before the pointer to the result
    const from = args.length > 4 ? Number(offset) : start;
    return grows(descriptor, from + sumLengths(memory(), vectors, count)) ? real(...args) : NO_SPACE;
  }

  return {
    answers: {
      __syscall_openat(real, args, memory) {
        const [folder = HERE, path, flags = 0] = args;
        if ((flags & WRITING) === 0) return real(...args);
        if (!isBelow(memory, folder, path)) return -READ_ONLY;
        return takes(ENTRY) ? real(...args) : -NO_SPACE;
      },
      __syscall_mkdirat(real, args, memory) {
        if (!isBelow(memory, args[0] ?? HERE, args[1])) return -READ_ONLY;
        return takes(ENTRY) ? real(...args) : -NO_SPACE;
      },
      __syscall_unlinkat: (real, args, memory) =>
        isBelow(memory, args[0] ?? HERE, args[1]) ? real(...args) : -READ_ONLY,
      __syscall_rmdir: (real, args, memory) => (isBelow(memory, HERE, args[0]) ? real(...args) : -READ_ONLY),
      __syscall_renameat: (real, args, memory) =>
        isBelow(memory, args[0] ?? HERE, args[1]) && isBelow(memory, args[2] ?? HERE, args[3])
          ? real(...args)
          : -READ_ONLY,
      __syscall_ftruncate64: (real, args) =>
        grows(args[0] ?? 0, Number(args[1])) ? real(...args) : -NO_SPACE,
      fd_write: write,
      fd_pwrite: write,
    },
    get isSmall() {
      return used <= SMALL;
    },
    clear() {
      if (used > 0) empty(files(), FOLDER);
      used = 0;
    },
  };
}

/** @param {string} path */
function leadsBelow(path) {
  /** @type {string[]} */
  const parts = [];
  for (const part of path.split("/"))
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  return parts.length > 1 && `/${parts[0]}` === FOLDER;
}

/**
 * @param {import("./emscripten.ts").FileSystem} files
 * @param {string} folder
 */
function empty(files, folder) {
  for (const name of files.readdir(folder)) {
    if (name === "." || name === "..") continue;
    const path = `${folder}/${name}`;
    if (files.isDir(files.lstat(path).mode)) {
      empty(files, path);
      files.rmdir(path);
    } else files.unlink(path);
  }
}

/**
 * @param {ArrayBuffer} memory
 * @param {number} start of a text that ends with a zero byte
 */
function textAt(memory, start) {
  const bytes = new Uint8Array(memory);
  const end = bytes.indexOf(0, start);
  return new TextDecoder().decode(bytes.subarray(start, end < 0 ? undefined : end));
}

/**
 * The bytes of all parts that are to be written.
 *
 * @param {ArrayBuffer} memory
 * @param {number} vectors
 * @param {number} count
 */
export function sumLengths(memory, vectors, count) {
  const view = new DataView(memory);
  let length = 0;
  for (let i = 0; i < count; i++) length += view.getUint32((vectors >>> 0) + 8 * i + 4, true);
  return length;
}
