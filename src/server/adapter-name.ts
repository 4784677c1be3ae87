import { Refusal } from "./refusal.ts";

const PLAIN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/** Names that Windows keeps for devices, whatever ending they have. */
const DEVICE = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i;

/**
 * An uploaded adapter's name is a folder's name on every system, and the same text wherever it is written.
 *
 * @throws Refusal 400 for any other.
 */
export function checkAdapterName(name: string): void {
  if (PLAIN.test(name) && !name.endsWith(".") && !DEVICE.test(name)) return;
  throw new Refusal(
    "name: an adapter's name begins with a letter or digit; letters, digits and . _ - follow, 128 at most; it does not end with a dot, and is not that of a device, such as CON or COM1",
    { status: 400, reason: "invalid_value", field: "name" },
  );
}

/** Whether a name can be that of a folder in a folder, and of nothing elsewhere. */
export const isFolderName = (name: string): boolean =>
  !name.startsWith(".") && /^[^/\\\0]{1,255}$/.test(name);
