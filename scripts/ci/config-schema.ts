// The JSON schema of mos.config.json, by which editors complete and check it, made from the settings that the commands
// declare. `npm run options` writes it anew; test/documents.test.ts checks that it is current.
import { z } from "zod";
import type { Setting, Settings } from "#core";
import type { LoadedCommands } from "../../src/cli/program.ts";
import { CONFIG_FILE } from "../../src/cli/sources.ts";

export const CONFIG_SCHEMA = "assets/mos.config.schema.json";

function toProperty({ kind, check, help, default: standard, defaultText, isRequired }: Setting): object {
  const { $schema: _, ...type } = z.toJSONSchema(check, { target: "draft-7", unrepresentable: "any" });
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

/** The text of the schema's file. */
export function configSchema(commands: LoadedCommands): string {
  const sections = [...commands].flatMap(([name, { configurable }]) =>
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
