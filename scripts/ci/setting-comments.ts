// TSDoc of settings, which an editor shows for `finetune({ settings: { batchSize` too: a mapped type keeps the comments of the
// properties that it maps. Each is made of the row's own help, values and default. `npm run options` writes them.
import { readFileSync } from "node:fs";
import type { Setting } from "#core";
import * as adapters from "../../src/adapters/method-parts.ts";
import { methods } from "../../src/adapters/methods.ts";
import * as engine from "../../src/inference/engine-options.ts";
import * as server from "../../src/server/serve.ts";
import * as template from "../../src/text/template-variables.ts";
import * as objectives from "../../src/training/objectives/settings.ts";
import * as training from "../../src/training/settings.ts";

const MODULES: readonly (readonly [path: string, exported: object])[] = [
  ["src/training/settings.ts", training],
  ["src/training/objectives/settings.ts", objectives],
  ["src/adapters/method-parts.ts", adapters],
  ...Object.entries(methods).map(([name, method]) => [`src/adapters/${name}.ts`, method] as const),
  ["src/text/template-variables.ts", template],
  ["src/inference/engine-options.ts", engine],
  ["src/server/serve.ts", server],
];

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** "Rows per batch. A whole number from 1 to 4096; default 4." */
function describe({ help, expected, kind, default: standard, defaultText }: Setting): string {
  const effect = kind === "flag" && standard === true ? `False: ${help}` : capital(help);
  const shown = defaultText ?? (standard === undefined ? undefined : JSON.stringify(standard));
  return `${effect}. ${capital(expected)}${shown === undefined ? "" : `; default ${shown}`}.`;
}

/** A source with the comments of the rows of its tables anew. */
function commented(source: string, exported: object): string {
  const lines: string[] = [];
  let table: Readonly<Record<string, Setting>> = {};
  for (const line of source.split("\n")) {
    const [, name] = /^(?:export )?const (\w+) = \{$/.exec(line) ?? [];
    if (name !== undefined) table = Object(exported)[name] ?? {};
    else if (/^\S/.test(line)) table = {};
    const [, row = ""] = /^ {2}(\w+)(?:: \w+\(|: \{$|: \w+\.|,$)/.exec(line) ?? [];
    const setting = table[row];
    if (setting?.help !== undefined) {
      if (/^ {2}\/\*\* .* \*\/$/.test(lines.at(-1) ?? "")) lines.pop();
      lines.push(`  /** ${describe(setting)} */`);
    }
    lines.push(line);
  }
  return lines.join("\n");
}

/** Sources of settings by their paths, as they should be. */
export const commentedSources = (): ReadonlyMap<string, string> =>
  new Map(MODULES.map(([path, exported]) => [path, commented(readFileSync(path, "utf8"), exported)]));
