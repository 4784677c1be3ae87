// `npm run quickstart` as a picture: it is run, and what it printed about before and after is drawn.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { terminalSvg } from "./terminal.ts";

const COLUMNS = 84;
/** The base's answers come again in the table, and what follows the loss differs from machine to machine. */
const LEFT_OUT = { answers: /\n\n {2}\S[\s\S]*?(?=^Now it learns)/m, end: /^adapter {2,}[\s\S]*/m };

/** The lines that show what the adapter did. */
function essentialLines(printed: string): string {
  if (!LEFT_OUT.answers.test(printed) || !LEFT_OUT.end.test(printed))
    throw new Error("quickstart prints something else now; see LEFT_OUT in scripts/pictures/quickstart.ts");
  return printed
    .replace(LEFT_OUT.answers, " \u001b[90m…\u001b[0m\n\n")
    .replace(LEFT_OUT.end, "")
    .replace(/\n{3,}/g, "\n\n");
}

/** Runs the built program; progress is on stderr, and left out. */
function record(): string {
  const folder = mkdtempSync(join(tmpdir(), "mos-picture-"));
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    ["dist/cli/main.js", "quickstart", "--out", join(folder, "quickstart")],
    { encoding: "utf8", env: { ...process.env, FORCE_COLOR: "1" }, stdio: ["ignore", "pipe", "pipe"] },
  );
  rmSync(folder, { recursive: true, force: true });
  if (status !== 0) throw new Error(`quickstart ended with ${status}\n${stderr}`);
  return stdout;
}

export function drawQuickstart(): string {
  const label =
    "npm run quickstart: the base does not know the lighthouse; after 200 steps the adapter answers three questions about it";
  const text = `\u001b[90m$\u001b[0m \u001b[1mnpm run quickstart\u001b[0m\n\n${essentialLines(record())}`;
  return terminalSvg({ text, columns: COLUMNS, label });
}
