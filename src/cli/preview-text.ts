// What mos train --dry-run says beside the first lines of a run: how long it takes, and examples token by token.
import type { PreviewedLine, PreviewedToken, RunPreview } from "#recipes";
import { counted, formatCount, formatDuration } from "./numbers.ts";
import { displayWidth } from "./tables.ts";

/** Between tokens. */
const EDGE = "│";

/** How long a run takes, and what to look at before it is made. */
export function timeRows({
  seconds,
  epochs,
  warmup,
  warnings,
}: RunPreview): readonly (readonly [string, string])[] {
  const time = [
    `about ${formatDuration(seconds)} on this machine, as busy as it is now`,
    `${formatCount(Math.round(100 * epochs) / 100)} ${epochs === 1 ? "pass" : "passes"} over the data`,
    `${counted(warmup, "step")} of warm-up`,
  ].join(" · ");
  return [["time", time], ...warnings.map(({ message }) => ["", `note: ${message}`] as const)];
}

/** The tokens of lines of the data; those that are trained stand behind a plus. */
export const linesText = (lines: readonly PreviewedLine[], columns: number): string =>
  [
    ...lines.flatMap((line) => [titleOf(line), ...tokenRows(line.shown, columns), ""]),
    `${EDGE} is between tokens; the loss counts the tokens behind a +. Nothing was written.`,
  ].join("\n");

const PARTS = { train: "", heldOut: ", held out", unused: ", not used" } as const;

function titleOf({
  line,
  part,
  tokens,
  targetTokens,
  truncated,
  truncatedTargets,
  dropped,
}: PreviewedLine): string {
  const cut = truncated ? `, cut off here: ${counted(truncatedTargets, "token")} not trained for it` : "";
  return `line ${line}${PARTS[part]}: ${counted(tokens, "token")}, ${targetTokens} trained${cut}${dropped ? ", left out: nothing to learn" : ""}`;
}

/** Rows of tokens that fit; each row is of one kind. */
function tokenRows(tokens: readonly PreviewedToken[], columns: number): readonly string[] {
  const rows: { readonly isTrained: boolean; text: string }[] = [];
  for (const { text, isTrained } of tokens) {
    const shown = visible(text);
    const row = rows.at(-1);
    const isNext =
      row?.isTrained === isTrained && displayWidth(row.text) + displayWidth(shown) + 4 <= columns;
    if (row !== undefined && isNext) row.text += EDGE + shown;
    else rows.push({ isTrained, text: shown });
  }
  return rows.map(({ isTrained, text }) => `${isTrained ? "+" : " "} ${text}`);
}

const visible = (text: string): string =>
  text
    .replaceAll("\n", "\\n")
    .replaceAll("\t", "\\t")
    .replace(/\p{Cc}/gu, "\ufffd");
