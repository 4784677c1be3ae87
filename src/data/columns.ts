// Fields of a form under other names.
import { list, MosError, text } from "#core";
import { listFields, type NumberedRecord, placeText, type Source } from "./forms.ts";

/** Fields of a form, and what they are called in the data. */
export type Columns = Readonly<Record<string, string>>;

/** The fields of all forms. */
export const FIELDS: readonly string[] = [
  ...["messages", "conversations", "system", "prompt", "completion", "instruction", "input", "output"],
  ...["question", "answer", "text"],
];
const PAIR = new RegExp(`^(?:${FIELDS.join("|")})=[^=]+$`);

/** `--data-columns prompt=question,completion=answer`. */
export const dataColumns = list(
  text({
    pattern: PAIR,
    what: "field=column, with a field of a form such as prompt, completion, messages or text",
    help: "a field",
  }),
  {
    what: "different pairs field=column, with fields of a form such as prompt, completion, messages or text",
    placeholder: "pairs",
    help: "columns that hold the fields, such as prompt=article,completion=summary",
  },
);

/** Pairs as `dataColumns` has them. Throws `bad_option` where two are for one field. */
export function parseColumns(pairs: readonly string[] | undefined): Columns | undefined {
  if (pairs === undefined) return undefined;
  const columns = Object.fromEntries(pairs.map((pair) => pair.split("=") as [string, string]));
  if (Object.keys(columns).length < pairs.length)
    throw new MosError("bad_option", `${pairs.join(",")}: two columns for one field; omit one`);
  return columns;
}

/** Fields that an example may lack. */
const OPTIONAL: readonly string[] = ["input", "system"];

/** The fields that are named, under the names of their form, and nothing else of a value. */
export async function* withColumns(
  values: AsyncIterable<NumberedRecord>,
  columns: Columns | undefined,
  { path, unit }: { readonly path: string; readonly unit: Source["unit"] },
): AsyncGenerator<NumberedRecord, void> {
  if (columns === undefined) return yield* values;
  const wanted = Object.entries(columns);
  for await (const { line, value } of values) {
    const given = Object(value) as Readonly<Record<string, unknown>>;
    const found = wanted.filter(([field, column]) => {
      const isThere = Object.hasOwn(given, column);
      if (isThere || OPTIONAL.includes(field)) return isThere;
      throw new MosError(
        "bad_data",
        `${placeText({ line, source: { unit, file: path } })}: there is no "${column}" (found: ${listFields(value)}), which --data-columns names as ${field}`,
      );
    });
    yield { line, value: Object.fromEntries(found.map(([field, column]) => [field, given[column]])) };
  }
}
