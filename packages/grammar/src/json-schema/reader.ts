import { GrammarError, memo, only, type Regex } from "#grammar";
import { parsePattern } from "#syntax";
import type { Budget, Place } from "./budget.ts";
import { type Decimal, decimal, decimalOf } from "./decimal.ts";
import {
  type ChildSchema,
  isJsonObject,
  type Location,
  type Resource,
  type SchemaDocument,
  type SchemaNode,
} from "./documents.ts";
import { describe, Fields } from "./fields.ts";
import { formatOf } from "./formats.ts";
import { assertionsOf, isAnnotation, KEYWORDS, keywordSet } from "./keywords.ts";
import type { Languages } from "./languages.ts";
import { ANY_INTEGER, ANY_NUMBER, type Bound, intersectRanges, type NumberRange } from "./numbers.ts";
import { badSchema, describePlace, unsupported } from "./schema-errors.ts";
import { FALSE, type Shape, type Term, TRUE } from "./shapes.ts";
import { ANY_STRING, intersectStrings, NO_STRING, ofLanguage, ofLength, type StringSet } from "./strings.ts";
import type { Terms } from "./terms.ts";

/** What reading a schema works with. */
export interface ReaderContext {
  readonly document: SchemaDocument;
  readonly terms: Terms;
  readonly languages: Languages;
  readonly budget: Budget;
}

const TYPES = ["null", "boolean", "number", "integer", "string", "array", "object"] as const;
type TypeName = (typeof TYPES)[number];

const isTypeName = (value: unknown): value is TypeName => TYPES.some((name) => name === value);

/** Reads schemas as nodes and terms, and the keywords that assert something about scalars. */
export class SchemaReader {
  readonly context: ReaderContext;
  readonly #nodes = new Map<unknown, Map<string, SchemaNode>>();
  readonly #patterns = new Map<string, Regex>();
  #count = 0;

  constructor(context: ReaderContext) {
    this.context = context;
  }

  /** The term of the whole document. */
  root(): Term {
    return this.termAt(this.context.document.root, []);
  }

  /** The term of a schema within another one. */
  child(node: SchemaNode, { path, schema }: ChildSchema): Term {
    const resource = this.context.document.resourceOf(schema, node.resource);
    const pointer = new Fields(node).childPointer(path);
    return this.termAt({ schema, pointer, resource }, node.scope);
  }

  /** The term to which a reference leads. */
  reference(node: SchemaNode, keyword: string): Term {
    return this.termAt(this.#target(node, keyword), node.scope);
  }

  termAt(start: Location, scope: readonly Resource[]): Term {
    let location = start;
    let currentScope = scope;
    const seen = new Set<unknown>();
    for (;;) {
      const { schema, pointer } = location;
      if (typeof schema === "boolean") return schema ? TRUE : FALSE;
      if (!isJsonObject(schema))
        throw badSchema(`must be a schema, an object or a boolean, not ${describe(schema)}`, { pointer });
      const node = this.#node({ ...location, schema }, currentScope);
      const assertions = assertionsOf(schema);
      const keyword = REFERENCES.find((one) => one === only(assertions));
      if (keyword === undefined) return assertions.length > 0 ? this.context.terms.schema(node) : TRUE;
      if (seen.has(schema)) throw badSchema("refers to itself, and says nothing else", { pointer, keyword });
      seen.add(schema);
      this.context.budget.spend(1);
      location = this.#target(node, keyword);
      currentScope = node.scope;
    }
  }

  #node(
    { schema, pointer, resource }: Location & { schema: SchemaNode["schema"] },
    scope: readonly Resource[],
  ): SchemaNode {
    const isNew = this.context.document.hasDynamicAnchors && !scope.includes(resource);
    const inner = isNew ? [...scope, resource] : scope;
    const key = inner.map(({ base }) => base).join("\n");
    const identity = scalarKey(schema) ?? schema;
    const known = this.#nodes.get(identity) ?? new Map<string, SchemaNode>();
    const node = known.get(key) ?? { id: this.#count++, schema, pointer, resource, scope: inner };
    this.#nodes.set(identity, known.set(key, node));
    return node;
  }

  #target(node: SchemaNode, keyword: string): Location {
    const { document } = this.context;
    const reference = new Fields(node).string(keyword) ?? "";
    if (keyword === "$recursiveRef" && document.recursiveAnchors > 1)
      throw unsupported('is refused where several schemas have "$recursiveAnchor"', {
        pointer: node.pointer,
        keyword,
      });
    const target = document.resolve(reference, node, keyword);
    const name = /#([^/#]+)$/.exec(reference)?.[1];
    if (keyword !== "$dynamicRef" || name === undefined) return target;
    if (target.resource.dynamicAnchors.get(name)?.schema !== target.schema) return target;
    const outermost = [...node.scope, target.resource].find((resource) => resource.dynamicAnchors.has(name));
    return outermost?.dynamicAnchors.get(name) ?? target;
  }

  /** Throws for keywords that are refused everywhere. */
  checkKeywords({ schema, pointer }: SchemaNode): void {
    for (const keyword of Object.keys(schema))
      if (KEYWORDS.get(keyword) === "refused")
        throw unsupported("is a keyword of an early draft that is not supported", { pointer, keyword });
  }

  types(fields: Fields): ReadonlySet<TypeName> {
    const type = fields.get("type");
    if (type === undefined) return new Set(TYPES);
    const names: readonly unknown[] = Array.isArray(type) ? type : [type];
    const known = names.filter(isTypeName);
    const wrong = names.find((name) => !isTypeName(name));
    if (wrong !== undefined || names.length === 0)
      throw badSchema(
        `must be one or several of ${TYPES.join(", ")}, not ${describe(wrong)}`,
        fields.place("type"),
      );
    return new Set(known);
  }

  /** Numbers and strings that the keywords of one schema allow, and the other scalars. */
  scalars(
    fields: Fields,
    types: ReadonlySet<TypeName>,
  ): Pick<Shape, "hasNull" | "booleans" | "numbers" | "strings"> {
    const format = formatOf(fields);
    const hasNumbers = types.has("number") || types.has("integer");
    const number = hasNumbers
      ? this.#numbers(fields, types.has("number") ? ANY_NUMBER : ANY_INTEGER)
      : undefined;
    const formatted = number && format?.number ? intersectRanges(number, format.number) : number;
    return {
      hasNull: types.has("null"),
      booleans: types.has("boolean") ? [true, false] : [],
      numbers: formatted === undefined ? [] : [formatted],
      strings: types.has("string") ? this.#strings(fields, format?.string) : NO_STRING,
    };
  }

  #numbers(fields: Fields, base: NumberRange): NumberRange | undefined {
    let range: NumberRange | undefined = base;
    const add = (part: Partial<NumberRange>): void => {
      range = range && intersectRanges(range, { ...ANY_NUMBER, ...part });
    };
    for (const bound of bounds(fields, "min")) add({ min: bound });
    for (const bound of bounds(fields, "max")) add({ max: bound });
    const step = fields.number("multipleOf");
    if (step === undefined) return range;
    if (step <= 0) throw badSchema(`must be above 0, not ${step}`, fields.place("multipleOf"));
    add({ multiples: [decimalOf(step)] });
    return range;
  }

  #strings(fields: Fields, format: StringSet | undefined): StringSet {
    const min = fields.count("minLength") ?? 0;
    const max = fields.count("maxLength") ?? null;
    if (max !== null && min > max) return NO_STRING;
    const { languages } = this.context;
    const pattern = fields.string("pattern");
    const language =
      pattern === undefined ? ANY_STRING : ofLanguage(this.pattern(pattern, fields.place("pattern")));
    return [format ?? ANY_STRING, language].reduce(
      (set, part) => intersectStrings(set, part, languages),
      ofLength(min, max),
    );
  }

  /** The language of a pattern, which may begin and end anywhere in a text. */
  pattern(pattern: string, place: Place): Regex {
    return memo(this.#patterns, pattern, () => {
      try {
        return parsePattern(pattern, { anchored: false });
      } catch (error) {
        if (!(error instanceof GrammarError)) throw error;
        const message = `${describePlace(place)} is ${JSON.stringify(pattern)}: ${error.message}`;
        throw new GrammarError(error.code, message, { ...place, cause: error });
      }
    });
  }
}

/** Keywords that say something about scalars, and do not depend on the schema's place. */
const SCALAR_KEYWORDS = keywordSet(
  "type format pattern minLength maxLength minimum maximum exclusiveMinimum exclusiveMaximum multipleOf",
);

/** The assertions of a schema that has few and simple ones, so that equal schemas are one. */
function scalarKey(schema: SchemaNode["schema"]): string | undefined {
  let key = "";
  for (const [keyword, value] of Object.entries(schema)) {
    if (isAnnotation(keyword)) continue;
    if (!SCALAR_KEYWORDS.has(keyword) || typeof value === "object") return undefined;
    key += `${keyword} ${JSON.stringify(value)} `;
  }
  return key;
}

const REFERENCES = ["$ref", "$dynamicRef", "$recursiveRef"] as const;

/** Bounds at one end: draft 4 has a boolean where later drafts have a second number. */
function bounds(fields: Fields, end: "min" | "max"): readonly Bound[] {
  const [keyword, exclusive] =
    end === "min" ? ["minimum", "exclusiveMinimum"] : ["maximum", "exclusiveMaximum"];
  const at = fields.number(keyword);
  const isBoolean = typeof fields.get(exclusive) === "boolean";
  const isOpen = isBoolean && fields.boolean(exclusive);
  const second = isBoolean ? undefined : fields.number(exclusive);
  return [
    ...(at === undefined ? [] : [{ at: boundOf(at, end), isOpen }]),
    ...(second === undefined ? [] : [{ at: decimalOf(second), isOpen: true }]),
  ];
}

/**
 * The number of a bound. A double that is the first power of two beyond the integers of 64 bits has been read of the last one, as in
 * 9223372036854775807.
 */
function boundOf(at: number, end: "min" | "max"): Decimal {
  const isBeyond = end === "max" && at > Number.MAX_SAFE_INTEGER && Number.isInteger(Math.log2(at));
  return isBeyond ? decimal(BigInt(at) - 1n) : decimalOf(at);
}
