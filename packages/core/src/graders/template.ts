// Text with {{item.path}} and {{sample.path}}: its parts, checked, and the text with an answer's values in place.
import { follow, MosError } from "#common";

/** What a model answered, as graders see it. */
export interface Sample {
  readonly output_text: string;
  /** The text as a JSON value; missing where it is none. */
  readonly output_json?: unknown;
  readonly output_tools?: readonly unknown[];
  readonly choices?: readonly unknown[];
}

/** What one grading knows: the fields of the data's line, and the answer. */
export interface GradeInput {
  readonly item: Readonly<Record<string, unknown>>;
  readonly sample: Sample;
}

/** A path, such as item.address.lines[0]: first the namespace. */
export type Path = readonly (string | number)[];
export type Template = readonly (string | Path)[];

const NAMESPACES = ["item", "sample"];
const SAMPLE_FIELDS = ["output_text", "output_json", "output_tools", "choices"];

const PART =
  /^(?:\.?([A-Za-z_][\w-]*)|\[(\d+)\]|\[("(?:[^"\\\p{Cc}]|\\(?:["\\/bfnrt]|u[\dA-Fa-f]{4}))*")\]|\['([^'\\]*)'\])/u;
/** Characters of one {{…}}. */
const MAX_PATH_LENGTH = 1000;

/** What stands between the braces as a path. Throws MosError `bad_option` where it is none, or leads nowhere for sure. */
function parsePath(expression: string, where: string): Path {
  const wrong = (reason: string): MosError =>
    new MosError("bad_option", `${where}: {{${expression}}} ${reason}`);
  const path: (string | number)[] = [];
  let rest = expression.trim();
  while (rest !== "") {
    const [whole = "", name, index, quoted, plain] = PART.exec(rest) ?? [];
    if (whole === "" || (path.length === 0) !== !/^[.[]/.test(whole))
      throw wrong(`is not a path, such as item.answer or sample.output_tools[0].function.name`);
    path.push(
      name ?? plain ?? (index === undefined ? (JSON.parse(quoted ?? '""') as string) : Number(index)),
    );
    rest = rest.slice(whole.length);
  }
  const [namespace, field] = path;
  if (!NAMESPACES.includes(String(namespace))) throw wrong("does not begin with item or sample");
  if (field === undefined) throw wrong(`names all of ${namespace}; name a field of it`);
  if (namespace === "sample" && !SAMPLE_FIELDS.includes(String(field)))
    throw wrong(`names a field that answers do not have; expected one of ${SAMPLE_FIELDS.join(", ")}`);
  if (field === "output_text" && namespace === "sample" && path.length > 2)
    throw wrong("looks into a text; sample.output_json has the fields of an answer in JSON");
  return path;
}

/** @param where the field of the grader, for errors */
export function parseTemplate(text: string, where: string): Template {
  const parts: (string | Path)[] = [];
  let from = 0;
  // no regular expression: one looks for the end again from every {{
  for (;;) {
    const start = text.indexOf("{{", from);
    const end = start < 0 ? -1 : text.indexOf("}}", start + 2);
    if (end < 0) break;
    if (end - start > MAX_PATH_LENGTH)
      throw new MosError(
        "bad_option",
        `${where}: the path from character ${start} on is too long; expected at most ${MAX_PATH_LENGTH} characters between {{ and }}`,
      );
    parts.push(text.slice(from, start), parsePath(text.slice(start + 2, end), where));
    from = end + 2;
  }
  parts.push(text.slice(from));
  return parts.filter((part) => part !== "");
}

/** A template's path that leads nowhere. It is the grader's or the data's fault below item, and the model's below sample. */
export class MissingValue extends Error {
  readonly isSample: boolean;

  constructor(path: Path) {
    super(`there is no ${path.join(".")}`);
    this.isSample = path[0] === "sample";
  }
}

const textOf = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));

/** Characters of the text that `fillIn` makes, counted no further than beyond `most`; a value that is missing has none. */
export function filledLength(template: Template, input: GradeInput, most: number): number {
  let length = 0;
  for (const part of template) {
    if (length > most) break;
    const value = typeof part === "string" ? part : follow(input, part);
    if (value !== undefined) length += textOf(value).length;
  }
  return length;
}

/** Text with the values in place; those that are no text as JSON. Throws MissingValue. */
export function fillIn(template: Template, input: GradeInput): string {
  return template
    .map((part) => {
      if (typeof part === "string") return part;
      const value = follow(input, part);
      if (value === undefined) throw new MissingValue(part);
      return textOf(value);
    })
    .join("");
}
