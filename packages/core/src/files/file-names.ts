// Names that users and clients chose, as names of files and folders that every system can have, and back.

/** Characters that Windows, or any system, forbids in names. `%` marks encoded ones. */
const FORBIDDEN = /[<>:"/\\|?*%\p{Cc}]/gu;

/** Characters that Windows drops at the end of a name. */
const DROPPED_AT_END = /[. ]$/;

/** Names that Windows keeps for devices, with any ending. */
const DEVICE = /^(?:con|prn|aux|nul|com[\d¹²³]|lpt[\d¹²³]|conin\$|conout\$|clock\$) *(?:\.|$)/i;

/** Bytes of UTF-8 as `%` and two hexadecimal digits, also those that URLs may contain. */
const encoded = (text: string): string =>
  [...new TextEncoder().encode(text)]
    .map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`)
    .join("");

/**
 * The name of the file or folder for a name. Different names get different file names, and plain names stay as they are. The
 * length is not checked.
 */
export function toFileName(name: string): string {
  const allowed = name.replace(FORBIDDEN, encoded).replace(DROPPED_AT_END, encoded);
  return DEVICE.test(allowed) ? encoded(allowed.slice(0, 1)) + allowed.slice(1) : allowed;
}

/** The name whose `toFileName` this is; of a file or folder that somebody named otherwise, its own name. */
export function fromFileName(file: string): string {
  try {
    const name = decodeURIComponent(file);
    return toFileName(name) === file ? name : file;
  } catch {
    return file; // % followed by something else
  }
}
