// The tables of options in the documents, made from the settings that the commands declare. A document marks a place by
//   <!-- options: train Training, Evaluation and checkpoints -->
//   <!-- end of options -->
// with the command and the headings of its help.
// usage: npm run options   (writes them anew, and the schema of mos.config.json; test/documents.test.ts checks that they are current)
import { readFileSync, writeFileSync } from "node:fs";
import type { Setting } from "#core";
import { flagsOf } from "../../src/cli/command.ts";
import { loadCommands } from "../../src/cli/program.ts";
import { documents } from "./commands.ts";
import { CONFIG_SCHEMA, configSchema } from "./config-schema.ts";
import { withReferenceLists } from "./reference-lists.ts";

const COMMANDS = await loadCommands();
const PLACE = /<!-- options: (\S+) ([^>]+?) -->\n[\s\S]*?<!-- end of options -->/g;

function defaultOf({ kind, default: standard, defaultText, isRequired }: Setting): string {
  if (isRequired) return "required";
  if (kind === "flag") return "";
  if (defaultText !== undefined) return defaultText;
  if (typeof standard === "number" && standard !== 0 && Math.abs(standard) < 1e-3)
    return standard.toExponential();
  return standard === undefined ? "" : String(standard);
}

const cell = (text: string): string => text.replaceAll("|", "\\|");

/** A table of the options under some headings of a command's help. */
function tableOf(name: string, headings: readonly string[]): string {
  const options = Object.entries(COMMANDS.get(name)?.options ?? {});
  const rows = headings.flatMap((heading) => {
    const shown = options.filter(([, { group }]) => group === heading);
    if (shown.length === 0) throw new Error(`mos ${name} has no options under the heading "${heading}"`);
    return shown.map(([option, setting]) => {
      const names = setting.kind === "choice" ? `: ${setting.choices?.join(", ")}` : "";
      return `| \`${flagsOf(option, setting)}\` | ${cell(defaultOf(setting))} | ${cell(setting.help + names)} |`;
    });
  });
  return ["| option | default | |", "|---|---|---|", ...rows].join("\n");
}

/** A document with its tables as they should be. */
export const withOptionTables = (markdown: string): string =>
  withReferenceLists(markdown).replace(
    PLACE,
    (_, name: string, headings: string) =>
      `<!-- options: ${name} ${headings} -->\n${tableOf(name, headings.split(", "))}\n<!-- end of options -->`,
  );

/** The schema of mos.config.json as it should be. */
export const currentConfigSchema = (): string => configSchema(COMMANDS);

if (process.argv[1]?.endsWith("option-tables.ts") === true) {
  writeFileSync(CONFIG_SCHEMA, currentConfigSchema());
  for (const path of documents()) {
    const before = readFileSync(path, "utf8");
    const after = withOptionTables(before);
    if (after === before) continue;
    writeFileSync(path, after);
    console.log(`${path}: tables written`);
  }
}
