const UNITS = ["bytes", "kB", "MB", "GB", "TB"] as const;

/** Bytes for an error message, in decimal units as the Hub shows them: 270000000 is "270 MB". */
export function describeBytes(bytes: number): string {
  let unit = 0;
  let value = bytes;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 || value >= 99.5 ? Math.round(value) : value.toPrecision(2)} ${UNITS[unit]}`;
}
