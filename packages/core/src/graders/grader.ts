// Graders as data, after OpenAI's schemas: what gives an answer its reward.
import { z } from "zod";
import { follow, MosError, parseWith, utf8Length } from "#common";
import { type Formula, parseFormula } from "./formula.ts";
import { MEASURES } from "./similarity/measures.ts";
import { filledLength, type GradeInput, type Path, parseTemplate, type Template } from "./template.ts";

const MAX_SOURCE_BYTES = 256_000;
/** Characters of a grader as JSON. */
const MAX_LENGTH = 300_000;
/** Graders of a multi grader. */
const MAX_PARTS = 32;
/** Characters of all texts of a grader, with the values of their templates in place. */
const MAX_FILLED = 1_000_000;
const measureNames = Object.keys(MEASURES) as (keyof typeof MEASURES)[];

const name = z.string().min(1).max(200);
/** Of OpenAI's evaluations: the reward from which an answer to a lesson is right. Training learns from rewards as they are. */
const passThreshold = z.number().optional();

const stringCheck = z.strictObject({
  type: z.literal("string_check"),
  name: name.optional(),
  operation: z.enum(["eq", "ne", "neq", "like", "ilike"]),
  input: z.string(),
  reference: z.string(),
  pass_threshold: passThreshold,
});

const textSimilarity = z.strictObject({
  type: z.literal("text_similarity"),
  name: name.optional(),
  evaluation_metric: z.enum(measureNames),
  input: z.string(),
  reference: z.string(),
  pass_threshold: passThreshold,
});

const python = z.strictObject({
  type: z.literal("python"),
  name: name.optional(),
  source: z
    .string()
    .refine((source) => utf8Length(source) <= MAX_SOURCE_BYTES, `at most ${MAX_SOURCE_BYTES} bytes`)
    .refine((source) => /\bgrade\b/.test(source), "Python that defines grade(sample, item)"),
  image_tag: z.string().nullish(),
  pass_threshold: passThreshold,
});

const textPart = z.strictObject({ type: z.enum(["text", "input_text", "output_text"]), text: z.string() });
const content = z.union([z.string(), textPart, z.array(z.union([z.string(), textPart]))]);

const scoreModel = z.strictObject({
  type: z.literal("score_model"),
  name: name.optional(),
  model: z.string().min(1),
  input: z
    .array(
      z.strictObject({
        role: z.enum(["system", "developer", "user", "assistant"]),
        content,
        type: z.literal("message").optional(),
      }),
    )
    .min(1),
  range: z
    .tuple([z.number(), z.number()])
    .refine(([least, most]) => least < most, "two numbers, the smaller first")
    .nullish(),
  sampling_params: z
    .strictObject({
      temperature: z.number().min(0).max(2).nullish(),
      top_p: z.number().min(0).max(1).nullish(),
      seed: z.int().nullish(),
      max_completions_tokens: z.int().positive().nullish(),
      reasoning_effort: z.string().nullish(),
    })
    .nullish(),
  pass_threshold: passThreshold,
});

const single = [stringCheck, textSimilarity, python, scoreModel] as const;

const multi = z.strictObject({
  type: z.literal("multi"),
  name: name.optional(),
  graders: z
    .record(
      z.string().regex(/^[A-Za-z_]\w{0,199}$/, "names of letters, digits and _, at most 200"),
      z.discriminatedUnion("type", single),
    )
    .refine((graders) => Object.keys(graders).length > 0, "at least one grader")
    .refine((graders) => Object.keys(graders).length <= MAX_PARTS, `at most ${MAX_PARTS} graders`),
  calculate_output: z.string(),
});

/** The schema of a grader, for the API's document as well. */
export const graderSchema = z.discriminatedUnion("type", [...single, multi]);

/** A grader as it is written: `{ "type": "string_check", … }`. */
export type Grader = z.output<typeof graderSchema>;

/**
 * Checks a grader: its size, its fields, the paths of its templates as far as they are known, and the formula.
 *
 * @throws MosError `bad_option` naming the field
 */
export function parseGrader(value: unknown, where = "grader"): Grader {
  if (JSON.stringify(value ?? null).length > MAX_LENGTH)
    throw new MosError("bad_option", `${where}: longer than ${MAX_LENGTH.toLocaleString("en")} characters`);
  const grader = parseWith(graderSchema, value, { code: "bad_option", where });
  readTemplates(grader, where);
  if (grader.type === "multi") readFormula(grader, where);
  return grader;
}

/** Models that a grader asks. */
export const askedModels = (grader: Grader): readonly string[] =>
  (grader.type === "multi" ? Object.values(grader.graders) : [grader]).flatMap((part) =>
    part.type === "score_model" ? [part.model] : [],
  );

export const graderName = (grader: Grader): string => grader.name ?? grader.type;

export const readFormula = (grader: Extract<Grader, { type: "multi" }>, where = "grader"): Formula =>
  parseFormula(grader.calculate_output, Object.keys(grader.graders), `${where}.calculate_output`);

/** The text of a message of a model grader. */
export function messageText(parts: z.output<typeof content>): string {
  if (typeof parts === "string") return parts;
  return (Array.isArray(parts) ? parts : [parts])
    .map((part) => (typeof part === "string" ? part : part.text))
    .join("");
}

/** All templates of a grader. Throws MosError `bad_option` where a path is wrong. */
function readTemplates(grader: Grader, where: string): readonly Template[] {
  switch (grader.type) {
    case "string_check":
    case "text_similarity":
      return [
        parseTemplate(grader.input, `${where}.input`),
        parseTemplate(grader.reference, `${where}.reference`),
      ];
    case "score_model":
      return grader.input.map(({ content }, i) =>
        parseTemplate(messageText(content), `${where}.input[${i}].content`),
      );
    case "multi":
      return Object.entries(grader.graders).flatMap(([name, inner]) =>
        readTemplates(inner, `${where}.graders.${name}`),
      );
    case "python":
      return [];
  }
}

/** What is wrong with a grader whose texts are too long with these values in place; undefined for others. */
export function findExcess(grader: Grader, input: GradeInput): string | undefined {
  let length = 0;
  for (const template of readTemplates(grader, "grader")) {
    length += filledLength(template, input, MAX_FILLED - length);
    if (length > MAX_FILLED)
      return `with its templates filled in, the grader has more than ${MAX_FILLED.toLocaleString("en")} characters`;
  }
  return undefined;
}

/**
 * Checks that an item of the data has all that a grader's templates name, and is not too long for them.
 *
 * @param where line of the data, for the error
 * @throws MosError `bad_data` naming the path, or the length
 */
export function checkItem(grader: Grader, item: Readonly<Record<string, unknown>>, where: string): void {
  const isPath = (part: string | Path): part is Path => typeof part !== "string";
  for (const template of readTemplates(grader, "grader"))
    for (const path of template.filter(isPath))
      if (path[0] === "item" && follow({ item }, path) === undefined)
        throw new MosError(
          "bad_data",
          `${where}: the grader needs {{${path.join(".")}}}, which is not there; the fields of item are ${Object.keys(item).join(", ") || "none"}`,
        );
  const excess = findExcess(grader, { item, sample: { output_text: "" } });
  if (excess !== undefined) throw new MosError("bad_data", `${where}: ${excess}; shorten the line`);
}
