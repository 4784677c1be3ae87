// The lists of options in the documents, made from the settings that the commands declare. A document marks a place by
//   <!-- options: train Training, Evaluation and checkpoints -->
//   <!-- end of options -->
// with the command and the headings of its help; "without train" leaves out what is an option of that command, too.
// usage: npm run options   (writes them anew, and the schema of mos.config.json; test/documents.test.ts checks that they are current)
import { readFileSync, writeFileSync } from "node:fs";
import type { Setting } from "#core";
import { formatFlags } from "../../src/cli/command.ts";
import { loadCommands } from "../../src/cli/program.ts";
import { documents } from "./commands.ts";
import { CONFIG_SCHEMA, configSchema } from "./config-schema.ts";
import { withReferenceLists } from "./reference-lists.ts";
import { withReferenceTables } from "./reference-tables.ts";

const COMMANDS = await loadCommands();
const PLACE = /<!-- options: (\S+) ([^>]+?) -->\n[\s\S]*?<!-- end of options -->/g;

/** In brackets behind an option: whether it must be given, or its default. */
function describeDefault({ kind, default: standard, defaultText, isRequired }: Setting): string {
  if (isRequired) return " (required)";
  if (kind === "flag") return "";
  const small = typeof standard === "number" && standard !== 0 && Math.abs(standard) < 1e-3;
  const shown = defaultText ?? (small ? standard.toExponential() : standard);
  return shown === undefined ? "" : ` (${shown})`;
}

const commandOptions = (name: string) => COMMANDS.get(name)?.options ?? {};

/** The options under some headings of a command's help, one an item, without those that another command has too. */
function optionList(name: string, headings: readonly string[], without = ""): string {
  const other = commandOptions(without);
  const isSame = (setting: Setting, others: Setting | undefined): boolean =>
    others?.help === setting.help && describeDefault(others) === describeDefault(setting);
  const options = Object.entries(commandOptions(name)).filter(
    ([option, setting]) => !isSame(setting, other[option]),
  );
  const items = headings.flatMap((heading) => {
    const shown = options.filter(([, { group }]) => group === heading);
    if (shown.length === 0) throw new Error(`mos ${name} has no options under the heading "${heading}"`);
    return shown.map(([option, setting]) => {
      const names = setting.kind === "choice" ? `; one of ${setting.choices?.join(", ")}` : "";
      return `- \`${formatFlags(option, setting)}\`${describeDefault(setting)}: ${setting.help}${names}`;
    });
  });
  return items.join("\n");
}

/** A document with its lists and tables as they should be. */
export const withReference = (markdown: string): string =>
  withReferenceLists(withReferenceTables(markdown)).replace(PLACE, (_, name: string, headings: string) => {
    const [shown = "", without] = headings.split(" without ");
    return `<!-- options: ${name} ${headings} -->\n${optionList(name, shown.split(", "), without)}\n<!-- end of options -->`;
  });

/** The schema of mos.config.json as it should be. */
export const currentConfigSchema = (): string => configSchema(COMMANDS);

if (process.argv[1]?.endsWith("option-lists.ts") === true) {
  writeFileSync(CONFIG_SCHEMA, currentConfigSchema());
  for (const path of documents()) {
    const before = readFileSync(path, "utf8");
    const after = withReference(before);
    if (after === before) continue;
    writeFileSync(path, after);
    console.log(`${path}: written`);
  }
}
