// Bytes and counts in three significant digits.

const BYTE_UNITS = ["B", "kB", "MB", "GB", "TB", "PB"] as const;
const COUNT_UNITS = ["", " k", " M", " G", " T"] as const;

/** Bytes in decimal units, as the Hub shows them: 1536 is "1.54 kB", 270000000 is "270 MB". */
export const describeBytes = (bytes: number): string => scale(bytes, BYTE_UNITS, " ");

/** A count in three digits: 950 is "950", 4815162 is "4.82 M". */
export const describeCount = (count: number): string => scale(count, COUNT_UNITS, "");

/** Three significant digits and the unit of every third power of ten. */
function scale(value: number, units: readonly string[], gap: string): string {
  if (!Number.isFinite(value)) return "?";
  let unit = 0;
  let scaled = Math.abs(value);
  while (scaled >= 999.5 && unit < units.length - 1) {
    scaled /= 1000;
    unit++;
  }
  const digits = unit === 0 && Number.isInteger(scaled) ? String(scaled) : threeDigits(scaled);
  return `${value < 0 ? "-" : ""}${digits}${gap}${units[unit]}`;
}

function threeDigits(value: number): string {
  if (value >= 99.95) return value.toFixed(0);
  return value.toFixed(value >= 9.995 ? 1 : 2);
}
