// The reference that documents restate, made from what the code declares, and the schema of mos.config.json. A document marks
// a place, and its end, such as <!-- end of options -->:
//   <!-- options: train Training, Evaluation -->   a command and the headings of its help; "without train" leaves out what is an
//                                                  option of that command, too
//   <!-- table: families -->                       or calls, data-forms, or block-types
//   <!-- routes: server -->                        or service
//   <!-- metrics: server -->                       or service
//   <!-- error codes -->
//   <!-- keywords -->                              of JSON Schema, and what becomes of them
// usage: npm run options   (writes all of them anew; test/documents.test.ts checks that they are current)
import { readFileSync, writeFileSync } from "node:fs";
import { OpenAPIHono } from "@hono/zod-openapi";
import { fittingConfig } from "mixture-of-shards-core/adapters";
import { type Setting, type Settings, settingInfo } from "mixture-of-shards-core/common";
import { blockFormats, type StoredType, storedFormat } from "mixture-of-shards-core/files";
import type { EngineStats } from "mixture-of-shards-core/inference";
import { type ModelConfig, parseHuggingFaceConfig, toLayerShapes } from "mixture-of-shards-core/models";
import { weightBytes } from "mixture-of-shards-graph/common";
import { z } from "zod";
import { FORMS } from "../../packages/core/src/data/forms.ts";
import { supportsDrafts } from "../../packages/core/src/inference/drafts.ts";
import { FAMILIES, type Family } from "../../packages/core/src/models/families/index.ts";
import { CALL_SYNTAXES, writeCalls } from "../../packages/core/src/text/call-syntax.ts";
import { TINY_FAMILIES } from "../../packages/core/test/tiny-families.ts";
import { tinyConfigJson } from "../../packages/core/test/tiny-model.ts";
import { FORMATS, KEYWORDS, type KeywordStatus } from "../../packages/grammar/src/json-schema/index.ts";
import { markdownTable } from "../../packages/lab/src/evaluation/results.ts";
import { formatFlags } from "../../packages/mos/src/cli/command.ts";
import { loadCommands } from "../../packages/mos/src/cli/program.ts";
import { CONFIG_FILE } from "../../packages/mos/src/cli/sources.ts";
import { ROUTES } from "../../packages/server/src/app.ts";
import type { ServerEnv } from "../../packages/server/src/context.ts";
import { createMetrics } from "../../packages/server/src/metrics.ts";
import { documentedRoutes } from "../../packages/server/src/routes/operations.ts";
import { addServiceRoutes, type ServiceEnv } from "../../packages/service/src/api/index.ts";
import { createMetrics as createServiceMetrics } from "../../packages/service/src/metrics.ts";
import { documents } from "./commands.ts";

const COMMANDS = await loadCommands();

/** In brackets behind an option: whether it must be given, or its default. */
function describeDefault(setting: Setting): string {
  const { kind, default: standard, defaultText, isRequired } = settingInfo(setting);
  if (isRequired) return " (required)";
  if (kind === "flag") return "";
  const small = typeof standard === "number" && standard !== 0 && Math.abs(standard) < 1e-3;
  const shown = defaultText ?? (small ? standard.toExponential() : standard);
  return shown === undefined ? "" : ` (${shown})`;
}

const commandOptions = (name: string) => COMMANDS.get(name)?.options ?? {};

/** The options under some headings of a command's help, one an item, without those that another command has too. */
function optionList(place: string): string {
  const [, name = "", shown = "", without = ""] = /^(\S+) (.+?)(?: without (\S+))?$/.exec(place) ?? [];
  const other = commandOptions(without);
  const isSame = (setting: Setting, others: Setting | undefined): boolean =>
    others !== undefined &&
    settingInfo(others).help === settingInfo(setting).help &&
    describeDefault(others) === describeDefault(setting);
  const options = Object.entries(commandOptions(name)).filter(
    ([option, setting]) => !isSame(setting, other[option]),
  );
  const items = shown.split(", ").flatMap((heading) => {
    const own = options.filter(([, setting]) => settingInfo(setting).group === heading);
    if (own.length === 0) throw new Error(`mos ${name} has no options under the heading "${heading}"`);
    return own.map(([option, setting]) => {
      const { kind, choices, help } = settingInfo(setting);
      const names = kind === "choice" ? `; one of ${choices?.join(", ")}` : "";
      return `- \`${formatFlags(option, setting)}\`${describeDefault(setting)}: ${help}${names}`;
    });
  });
  return items.join("\n");
}

const code = (text: string): string => `\`${text}\``;

/** A shape whose width every block size divides, and whose height is even. */
const SHAPE = [2, 256] as const;
const WEIGHTS = SHAPE[0] * SHAPE[1];

const blockTypeRow = (type: StoredType): readonly string[] => {
  const { bytes, blockSize } = blockFormats[type];
  return [type, String(bytes / blockSize), String(weightBytes(storedFormat(type).format, SHAPE) / WEIGHTS)];
};

/** A small model of a family. */
function tinyConfig(family: string): ModelConfig {
  const found = Object.values(TINY_FAMILIES).find((fields) => fields?.["model_type"] === family);
  return parseHuggingFaceConfig({ ...tinyConfigJson, ...found }, family);
}

/** The linear layers of a new adapter: "q, k, v". */
const targetNames = (config: ModelConfig): string =>
  fittingConfig({ method: "lora" }, toLayerShapes(config))
    .targets.map((name) => name.replace(/_proj$/, ""))
    .join(", ");

const CALL = { id: "a1B2c3D4e", name: "f", arguments: '{"x": "a"}' };

const TABLES: Readonly<Record<string, () => readonly (readonly string[])[]>> = {
  families: () => [
    ["`model_type`", "models", "adapters are on", "drafts", "GGUF"],
    ...Object.entries<Family>(FAMILIES).map(([name, { models, gguf }]) => {
      const config = tinyConfig(name);
      return [
        code(name),
        models,
        targetNames(config),
        supportsDrafts(config) ? "yes" : "no",
        gguf === undefined ? "no" : code(gguf.architecture),
      ];
    }),
  ],
  calls: () => [
    ["models", "how a call is written"],
    ...CALL_SYNTAXES.map((syntax) => [syntax.models, code(writeCalls(syntax, [CALL]).replaceAll("\n", " "))]),
  ],
  "data-forms": () => [
    ["form", "example"],
    ...Object.entries(FORMS).map(([name, { sample }]) => [name, code(sample)]),
  ],
  "block-types": () => [
    ["type", "in the file", "in memory"],
    ...(Object.keys(blockFormats) as StoredType[])
      .filter((type) => blockFormats[type].blockSize > 1)
      .map(blockTypeRow),
  ],
};

function table(name: string): string {
  const rows = TABLES[name]?.();
  if (rows !== undefined) return markdownTable(rows, { left: [0, 1, 2, 3, 4] });
  throw new Error(`there is no table ${name}; there are ${Object.keys(TABLES).join(", ")}`);
}

/** `- GET /v1/models: List the models`, in the order of the paths. */
function routeList(part: string): string {
  const app = new OpenAPIHono<ServerEnv>();
  if (part === "server") for (const addTo of ROUTES) addTo(app);
  // only a request reads what the routes are given
  else addServiceRoutes(app, {} as ServiceEnv);
  return documentedRoutes(app)
    .map(({ method, path, summary }) => `- \`${method} ${path}\`: ${summary}`)
    .join("\n");
}

/** Statistics of an engine that has done nothing. */
export const idleStats: EngineStats = {
  waiting: 0,
  running: 0,
  waitingAdapters: {},
  runningAdapters: {},
  waitingTenants: {},
  prefilling: 0,
  maxBatch: 1,
  steps: 0,
  decodedTokens: 0,
  draftTokens: 0,
  acceptedTokens: 0,
  nearDraftTokens: 0,
  promptTokens: 0,
  cachedTokens: 0,
  completionTokens: 0,
  process: { pid: 1, bytes: 0 },
  cache: { bytes: 0, usedBytes: 0, limitBytes: 0 },
  grammars: {
    compiled: 0,
    hits: 0,
    compileSeconds: 0,
    refused: {},
    resident: 0,
    residentBytes: 0,
    masks: 0,
    matchSeconds: 0,
  },
  adapters: {
    registered: 0,
    resident: 0,
    residentBytes: 0,
    residentLimit: 0,
    residentDigests: [],
    active: 0,
    activeBytes: 0,
    activeLimit: 0,
    slotBytes: 0,
    hits: 0,
    misses: 0,
    evictions: 0,
    loads: 0,
    loadSeconds: 0,
    failures: 0,
  },
};

/** What Prometheus would read of a process that has done nothing. */
async function exposition(part: string): Promise<string> {
  if (part === "server") {
    const engine = { stats: async () => idleStats };
    return (await createMetrics({ engine, modelName: "base", now: () => 0 }).render()).text;
  }
  const read = async () => ({ jobs: [], workers: [], deliveries: 0 });
  return createServiceMetrics().render({ read, model: "base" });
}

async function metricList(part: string): Promise<string> {
  const text = await exposition(part);
  return [...text.matchAll(/^# HELP (\S+) (.*)\n# TYPE \S+ (\w+)$/gm)]
    .map(([, name, help, type]) => `- \`${name}\` (${type}): ${help}`)
    .join("\n");
}

/** The union of codes with the comment of each. */
function errorCodeList(): string {
  const source = readFileSync("packages/graph/src/error.ts", "utf8");
  return [...source.matchAll(/^ {2}\| "(\w+)";? \/\/ (.*)$/gm)]
    .map(([, code, meaning]) => `- \`${code}\`: ${meaning}`)
    .join("\n");
}

/** Keywords of schemas: those that are enforced, in which cases others are, and what is refused or says nothing; and formats. */
function keywordList(): string {
  const having = (status: KeywordStatus): string =>
    [...KEYWORDS]
      .filter(([, its]) => its === status)
      .map(([keyword]) => `\`${keyword}\``)
      .join(", ");
  const partly = [...KEYWORDS].flatMap(([keyword, status]) =>
    typeof status === "object" ? [`- \`${keyword}\`: ${status.partly}`] : [],
  );
  return [
    `**Enforced:** ${having("enforced")}.`,
    "**Enforced in these cases, and else refused:**",
    partly.join("\n"),
    `**Formats:** ${FORMATS.join(", ")}. \`idn-\` and \`iri\` are their ASCII forms; some others are narrower than their standards.`,
    `**Annotations:** ${having("annotation")}.`,
    `**Refused:** ${having("refused")}.`,
  ].join("\n\n");
}

const METRICS: Readonly<Record<string, string>> = {
  server: await metricList("server"),
  service: await metricList("service"),
};

const PARTS: Readonly<Record<string, (place: string) => string>> = {
  options: optionList,
  table,
  routes: routeList,
  metrics: (part) => METRICS[part] ?? "",
  "error codes": errorCodeList,
  keywords: keywordList,
};
const PLACE =
  /<!-- (options|table|routes|metrics|error codes|keywords)(?:: ([^>]+?))? -->\n[\s\S]*?<!-- end of \1 -->/g;

/** A document with its marked places as they should be. */
export const withReference = (markdown: string): string =>
  markdown.replace(PLACE, (whole, part: string, place = "") => {
    const [mark] = whole.split("\n", 1);
    return `${mark}\n${PARTS[part]?.(place)}\n<!-- end of ${part} -->`;
  });

export const CONFIG_SCHEMA = "assets/mos.config.schema.json";

function toProperty(setting: Setting): object {
  const { kind, check, help, default: standard, defaultText, isRequired } = settingInfo(setting);
  const {
    $schema: _,
    description: _noun,
    unit: _unit,
    ...type
  } = z.toJSONSchema(check, { target: "draft-7", unrepresentable: "any" });
  const size = { type: "string", pattern: "^\\d+(\\.\\d+)? ?([kmgtKMGT]?[iI]?[bB])?$" };
  const isNegated = kind === "flag" && standard === true;
  const decided = standard === undefined && defaultText !== undefined ? ` (default: ${defaultText})` : "";
  return {
    description: `${isNegated ? "false: " : ""}${help}${decided}`,
    ...(kind === "bytes" ? { anyOf: [type, size] } : type),
    ...(standard === undefined || isRequired ? {} : { default: standard }),
  };
}

const toSection = (name: string, settings: Settings): object => ({
  description: `Options of mos ${name}.`,
  type: "object",
  additionalProperties: false,
  properties: Object.fromEntries(
    Object.entries(settings)
      .filter(([option]) => option !== "config")
      .map(([option, setting]) => [option, toProperty(setting)]),
  ),
});

/** The schema of mos.config.json, by which editors complete and check it. */
export function configSchema(): string {
  const sections = [...COMMANDS].flatMap(([name, { configurable }]) =>
    configurable === undefined ? [] : [[name, toSection(name, configurable)] as const],
  );
  const schema = {
    $schema: "http://json-schema.org/draft-07/schema#",
    title: CONFIG_FILE,
    description: "Options of mos, by command. The command line and the environment come first.",
    type: "object",
    additionalProperties: false,
    properties: { $schema: { type: "string" }, ...Object.fromEntries(sections) },
  };
  return `${JSON.stringify(schema, null, 2)}\n`;
}

if (process.argv[1]?.endsWith("reference.ts") === true) {
  writeFileSync(CONFIG_SCHEMA, configSchema());
  for (const path of documents()) {
    const before = readFileSync(path, "utf8");
    const after = withReference(before);
    if (after === before) continue;
    writeFileSync(path, after);
    console.log(`${path}: written`);
  }
}
