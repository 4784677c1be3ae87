// Output of mos train --dry-run beside the first lines of a run: its schedule, and examples token by token.
import { placeText } from "mixture-of-shards-core/data";
import type { PreviewedLine, PreviewedToken, RunPreview } from "mixture-of-shards-core/training";
import { counted, displayWidth, wrapText } from "./format.ts";

/** Between tokens. */
const EDGE = "│";

/** Schedule of a run, and warnings to consider before starting it. */
export function scheduleRows({ warmup, warnings }: RunPreview): readonly (readonly [string, string])[] {
  const schedule = `${counted(warmup, "step")} of warm-up`;
  return [["schedule", schedule], ...warnings.map(({ message }) => ["", `note: ${message}`] as const)];
}

export interface LinesOptions {
  readonly columns: number;
  /** Makes what is trained stand out, where colour is shown. */
  readonly emphasise: (row: string) => string;
}

/** The tokens of lines of the data; those that are trained follow a plus sign. */
export const linesText = (lines: readonly PreviewedLine[], { columns, emphasise }: LinesOptions): string =>
  [
    ...lines.flatMap((line) => [
      ...wrapText(lineTitle(line), columns),
      ...tokenRows(line.shown, columns).map(({ isTrained, text }) =>
        isTrained ? emphasise(`+ ${text}`) : `  ${text}`,
      ),
      "",
    ]),
    ...wrapText(`${EDGE} separates tokens; tokens behind a + are trained. Nothing was written.`, columns),
  ].join("\n");

const PARTS = { train: "", validation: ", validation", unused: ", not used" } as const;

function lineTitle({
  line,
  unit,
  file,
  part,
  answer,
  tokens,
  targetTokens,
  truncated,
  truncatedTargets,
  dropped,
}: PreviewedLine): string {
  const cut = truncated ? `, truncated here: ${counted(truncatedTargets, "target token")} lost` : "";
  const place = placeText({ line, source: { unit, ...(file === undefined ? {} : { file }) } });
  const lost = targetTokens > 0 ? "the other answer has no target tokens" : "no target tokens";
  const what = answer === undefined ? "" : `, ${answer} answer`;
  return `${place}${what}${PARTS[part]}: ${counted(tokens, "token")}, ${targetTokens} trained${cut}${dropped ? `, dropped: ${lost}` : ""}`;
}

interface TokenRow {
  readonly isTrained: boolean;
  text: string;
}

/** Rows of tokens that fit with two columns before them; each row is of one kind. */
function tokenRows(tokens: readonly PreviewedToken[], columns: number): readonly Readonly<TokenRow>[] {
  const rows: TokenRow[] = [];
  for (const { text, isTrained } of tokens) {
    if (text === "") continue; // a part of the next one's character
    const shown = visible(text);
    const row = rows.at(-1);
    const isNext =
      row?.isTrained === isTrained && displayWidth(row.text) + displayWidth(shown) + 4 <= columns;
    if (row !== undefined && isNext) row.text += EDGE + shown;
    else rows.push({ isTrained, text: shown });
  }
  return rows;
}

const visible = (text: string): string =>
  text
    .replaceAll("\n", "\\n")
    .replaceAll("\t", "\\t")
    .replace(/\p{Cc}/gu, "\ufffd");
