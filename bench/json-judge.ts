// Judges JSON texts by ajv, each schema by its draft.
import { Ajv, type ErrorObject } from "ajv";
import { Ajv2019 } from "ajv/dist/2019.js";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { withExactMultiples } from "../packages/grammar/test/exact-multiples.ts";

type Validate = ((value: unknown) => boolean) & { errors?: ErrorObject[] | null };

/** Tells what is wrong with a text, undefined where nothing is; no judge where ajv cannot compile the schema. */
export function judgeOf(schema: unknown): ((text: string) => string | undefined) | undefined {
  const draft =
    typeof schema === "object" && schema !== null && "$schema" in schema ? String(schema.$schema) : "";
  const options = { strict: false, logger: false, validateFormats: true } as const;
  const newer = draft.includes("2019") ? Ajv2019 : Ajv2020;
  const ajv = /draft-0[3-7]/.test(draft) ? new Ajv(options) : new newer(options);
  addFormats.default(withExactMultiples(ajv));
  let validate: Validate;
  try {
    const { $schema: _, ...rest } = schema as Record<string, unknown>;
    validate = ajv.compile(rest) as Validate;
  } catch {
    return undefined;
  }
  return (text) => {
    try {
      return validate(JSON.parse(text)) ? undefined : JSON.stringify(validate.errors?.[0]);
    } catch (error) {
      return String(error);
    }
  };
}
