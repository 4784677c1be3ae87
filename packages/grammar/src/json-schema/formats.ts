import { ANY, and, memo, type Regex, repeat } from "#grammar";
import { parsePattern } from "#syntax";
import { decimal } from "./decimal.ts";
import { describe, type Fields } from "./fields.ts";
import { ANY_INTEGER, ANY_NUMBER, type NumberRange } from "./numbers.ts";
import { unsupported } from "./schema-errors.ts";
import { ofLanguage, type StringSet } from "./strings.ts";

/** What a format demands of strings and numbers. */
interface Format {
  readonly string?: StringSet;
  readonly number?: NumberRange;
}

const HOUR = "(?:[01]\\d|2[0-3])";
const OFFSET = `(?:[Zz]|[+-]${HOUR}:[0-5]\\d)`;
const FRACTION = "(?:\\.\\d{1,12})?";
const TIME = `(?:${HOUR}:[0-5]\\d:[0-5]\\d${FRACTION}${OFFSET}|23:59:60${FRACTION}[Zz])`;
const LEAP_YEAR = "(?:\\d\\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)";
const DAY = "(?:0[1-9]|[12]\\d)";
const DATE = `(?:\\d{4}-(?:(?:0[13578]|1[02])-(?:${DAY}|3[01])|(?:0[469]|11)-(?:${DAY}|30)|02-(?:0[1-9]|1\\d|2[0-8]))|${LEAP_YEAR}-02-29)`;

const COUNT = "\\d{1,10}";
const CLOCK = `T(?:${COUNT}H(?:${COUNT}M(?:${COUNT}S)?)?|${COUNT}M(?:${COUNT}S)?|${COUNT}S)`;
const CALENDAR = `(?:${COUNT}Y(?:${COUNT}M(?:${COUNT}D)?)?|${COUNT}M(?:${COUNT}D)?|${COUNT}D)`;
const DURATION = `P(?:${CALENDAR}(?:${CLOCK})?|${CLOCK}|${COUNT}W)`;

const ATOM = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~\\-]+";
const LABEL = "[A-Za-z0-9](?:[A-Za-z0-9\\-]{0,61}[A-Za-z0-9])?";
const EMAIL = `${ATOM}(?:\\.${ATOM})*@(?:${LABEL}\\.)+${LABEL}`;
const HOSTNAME = `${LABEL}(?:\\.${LABEL})*`;

const OCTET = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
const IPV4 = `(?:${OCTET}\\.){3}${OCTET}`;
const GROUP = "[0-9A-Fa-f]{1,4}";
const LAST_GROUPS = `(?:${GROUP}:${GROUP}|${IPV4})`;

/** IPv6 addresses by the place of "::", as RFC 3986 lists them. */
const IPV6 = `(?:${[
  `(?:${GROUP}:){6}${LAST_GROUPS}`,
  `::(?:${GROUP}:){5}${LAST_GROUPS}`,
  ...[4, 3, 2, 1, 0].map(
    (after) => `(?:${GROUP}(?::${GROUP}){0,${4 - after}})?::(?:${GROUP}:){${after}}${LAST_GROUPS}`,
  ),
  `(?:${GROUP}(?::${GROUP}){0,5})?::${GROUP}`,
  `(?:${GROUP}(?::${GROUP}){0,6})?::`,
].join("|")})`;

const UUID = "[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}";

const ENCODED = "%[0-9A-Fa-f]{2}";
const UNRESERVED = "A-Za-z0-9\\-._~!$&'()*+,;=";
const PATH_CHARACTER = `(?:[${UNRESERVED}:@]|${ENCODED})`;
const SEGMENTS = `(?:/${PATH_CHARACTER}*)*`;
const AUTHORITY = `(?:(?:[${UNRESERVED}:]|${ENCODED})*@)?(?:\\[${IPV6}\\]|(?:[${UNRESERVED}]|${ENCODED})+)(?::\\d{0,5})?`;
const ABSOLUTE = `/(?:${PATH_CHARACTER}+${SEGMENTS})?`;
const ROOTLESS = `${PATH_CHARACTER}+${SEGMENTS}`;
const TAIL = `(?:\\?(?:[${UNRESERVED}:@/?]|${ENCODED})*)?(?:#(?:[${UNRESERVED}:@/?]|${ENCODED})*)?`;
const NETWORK = `//(?:${AUTHORITY}${SEGMENTS}|${ABSOLUTE})`;
const URI = `[A-Za-z][A-Za-z0-9+\\-.]*:(?:${NETWORK}|${ABSOLUTE}|${ROOTLESS})${TAIL}`;
const FIRST_SEGMENT = `(?:[${UNRESERVED}@]|${ENCODED})+${SEGMENTS}`;
const URI_REFERENCE = `(?:${URI}|(?:${NETWORK}|${ABSOLUTE}|${FIRST_SEGMENT})?${TAIL})`;
const WORD = "[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*";
const URL = `(?:https?|ftp)://(?:${WORD}\\.)+[A-Za-z]{2,}(?::\\d{2,5})?(?:/(?:[${UNRESERVED}:@/?#]|${ENCODED})*)?`;

const VARIABLE = `(?:[A-Za-z0-9_]|${ENCODED})+(?::[1-9]\\d{0,3}|\\*)?`;
const URI_TEMPLATE = `(?:[A-Za-z0-9\\-._~!$&()*+,;=:@/?#\\[\\]]|${ENCODED}|\\{[+#./;?&=,!@|]?${VARIABLE}(?:,${VARIABLE})*\\})*`;
const JSON_POINTER = "(?:/(?:[^~/]|~[01])*)*";
const BASE64 = "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?";

const PATTERNS: Readonly<Record<string, string>> = {
  "date-time": `${DATE}[Tt]${TIME}`,
  date: DATE,
  time: TIME,
  duration: DURATION,
  email: EMAIL,
  "idn-email": EMAIL,
  hostname: HOSTNAME,
  "idn-hostname": HOSTNAME,
  "host-name": HOSTNAME,
  ipv4: IPV4,
  "ip-address": IPV4,
  ipv6: IPV6,
  uuid: UUID,
  uri: URI,
  iri: URI,
  "uri-reference": URI_REFERENCE,
  "iri-reference": URI_REFERENCE,
  "uri-template": URI_TEMPLATE,
  url: URL,
  "json-pointer": JSON_POINTER,
  "relative-json-pointer": `(?:0|[1-9]\\d{0,9})(?:#|${JSON_POINTER})`,
  byte: BASE64,
};

const integersOfBits = (bits: bigint): NumberRange => ({
  ...ANY_INTEGER,
  min: { at: decimal(-(2n ** (bits - 1n))), isOpen: false },
  max: { at: decimal(2n ** (bits - 1n) - 1n), isOpen: false },
});

const NUMBERS: Readonly<Record<string, NumberRange>> = {
  int32: integersOfBits(32n),
  int64: integersOfBits(64n),
  float: ANY_NUMBER,
  double: ANY_NUMBER,
  "utc-millisec": ANY_NUMBER,
};

/** Formats that allow every string. */
const FREE: ReadonlySet<string> = new Set(["password", "binary"]);

/** Names of the formats that are enforced. */
export const FORMATS: readonly string[] = [...Object.keys(PATTERNS), ...Object.keys(NUMBERS), ...FREE];

const known = new Map<string, Regex>();

const languageOf = (name: string, pattern: string): Regex =>
  memo(known, name, () => {
    const regex = parsePattern(pattern, { anchored: true });
    return /host-?name/.test(name) ? and(regex, repeat(ANY, 1, 253)) : regex;
  });

/** Whether a language is that of a format. */
export const isFormat = (regex: Regex): boolean => [...known.values()].includes(regex);

/**
 * What the format of a schema demands.
 *
 * @throws {@link GrammarError} "unsupported" for a format that is not known.
 */
export function formatOf(fields: Fields): Format | undefined {
  const name = fields.string("format");
  if (name === undefined || FREE.has(name)) return undefined;
  const pattern = Object.hasOwn(PATTERNS, name) ? PATTERNS[name] : undefined;
  if (pattern !== undefined) return { string: ofLanguage(languageOf(name, pattern)) };
  const number = Object.hasOwn(NUMBERS, name) ? NUMBERS[name] : undefined;
  if (number !== undefined) return { number };
  throw unsupported(
    `is refused: the format ${describe(name)} is not known. Known are ${FORMATS.join(", ")}`,
    fields.place("format"),
  );
}
