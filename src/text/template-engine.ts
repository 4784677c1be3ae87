import { Environment, Interpreter, parse, tokenize } from "@huggingface/jinja";
import { MosError } from "#core";

/** Runs one compiled template with the given variables. */
export type RunTemplate = (variables: Readonly<Record<string, unknown>>) => string;

export interface CompileOptions {
  /** How messages call the template. */
  readonly name: string;
  /** The time that `strftime_now` tells (in UTC); without it templates do not know the date. */
  readonly now: Date | undefined;
}

/** A template that loops more often than this is broken or hostile. */
const LONGEST_RANGE = 1_000_000;

/**
 * Compiles a Jinja chat template with the settings of transformers: trim_blocks, lstrip_blocks, `raise_exception`.
 *
 * @throws MosError `bad_model` when it does not parse or fails; `bad_data` when it refuses the messages itself.
 */
export function compileTemplate(template: string, { name, now }: CompileOptions): RunTemplate {
  const program = attempt(`${name} does not parse`, () =>
    parse(tokenize(template, { lstrip_blocks: true, trim_blocks: true })),
  );
  return (variables) => {
    const environment = new Environment();
    for (const [key, value] of Object.entries({ ...globals(name, now), ...variables }))
      environment.set(key, value);
    const result = attempt(`${name} fails`, () => new Interpreter(environment).run(program));
    if (typeof result.value !== "string") throw new MosError("bad_model", `${name} gives no text`);
    return result.value;
  };
}

function attempt<Result>(what: string, action: () => Result): Result {
  try {
    return action();
  } catch (cause) {
    if (cause instanceof MosError) throw cause;
    // the parser meets the end of a template as a property of nothing
    const reason = cause instanceof TypeError ? "it ends too early, or is damaged" : reasonOf(cause);
    throw new MosError("bad_model", `${what}: ${reason}`, { cause });
  }
}

const reasonOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));

function globals(name: string, now: Date | undefined): Record<string, unknown> {
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
  if (!(length <= LONGEST_RANGE)) throw new Error(`range of ${length} numbers`);
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
