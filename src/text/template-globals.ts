// Globals of chat templates: the names of Jinja, and the functions that transformers adds.
import { MosError } from "#core";
import { MAX_STEPS } from "./bounded-interpreter.ts";

/** @param now The time for `strftime_now` (in UTC); undefined leaves that function out. */
export function globals(name: string, now: Date | undefined): Record<string, unknown> {
  const shared = {
    true: true,
    True: true,
    false: false,
    False: false,
    none: null,
    None: null,
    range,
    raise_exception: (message: unknown) => {
      throw new MosError("bad_data", `${name} refuses these messages: ${String(message)}`);
    },
  };
  return now === undefined
    ? shared
    : { ...shared, strftime_now: (format: unknown) => strftime(String(format), now) };
}

function range(first: number, stop?: number, step = 1): number[] {
  const from = stop === undefined ? 0 : first;
  const to = stop ?? first;
  const length = Math.max(0, Math.ceil((to - from) / step));
  if (!(length <= MAX_STEPS)) throw new Error(`range of ${length} numbers`);
  return Array.from({ length }, (_, i) => from + i * step);
}

const two = (value: number): string => String(value).padStart(2, "0");
const inWords = (now: Date, options: Intl.DateTimeFormatOptions): string =>
  new Intl.DateTimeFormat("en-US", { ...options, timeZone: "UTC" }).format(now);

/** The directives of Python's strftime that chat templates use. */
function strftime(format: string, now: Date): string {
  const directives: Readonly<Record<string, () => string>> = {
    "%Y": () => String(now.getUTCFullYear()),
    "%m": () => two(now.getUTCMonth() + 1),
    "%d": () => two(now.getUTCDate()),
    "%-d": () => String(now.getUTCDate()),
    "%b": () => inWords(now, { month: "short" }),
    "%B": () => inWords(now, { month: "long" }),
    "%a": () => inWords(now, { weekday: "short" }),
    "%A": () => inWords(now, { weekday: "long" }),
    "%H": () => two(now.getUTCHours()),
    "%M": () => two(now.getUTCMinutes()),
    "%S": () => two(now.getUTCSeconds()),
    "%%": () => "%",
  };
  return format.replace(/%-?[A-Za-z%]/g, (directive) => {
    const write = directives[directive];
    if (write === undefined) throw new Error(`strftime_now does not know ${directive}`);
    return write();
  });
}
