import { FLEETS, type PaperTableRow, PRECISIONS, type Precision } from "#recipes";
import { formatBytes, formatInteger } from "./progress.ts";
import { textTable } from "./text-table.ts";

const nameOf = ({ method, rank }: PaperTableRow): readonly string[] => [method, rank];

/** The paper's column, and which LoRA is as good. */
const parameterTable = (rows: readonly PaperTableRow[]): string =>
  textTable([
    ["method", "rank", "# Param.", "paper's avg", "LoRA as good", "# Param.", "times"],
    ...rows.map((row) => {
      const { parameters, average, lora } = row;
      const beside = [average.toFixed(2), `r ${lora.rank}`, formatInteger(lora.parameters)];
      return parameters === undefined
        ? [...nameOf(row), "–", ...beside, "–"]
        : [...nameOf(row), formatInteger(parameters), ...beside, (lora.parameters / parameters).toFixed(1)];
    }),
  ]);

const memoryTable = (rows: readonly PaperTableRow[], precision: Precision): string => {
  const counts = FLEETS.map(formatInteger);
  return textTable([
    [`adapters in ${precision}`, "rank", ...counts, "LoRA", ...counts],
    ...rows.map((row) => [
      ...nameOf(row),
      ...(row.bytes?.[precision].map(formatBytes) ?? counts.map(() => "–")),
      `r ${row.lora.rank}`,
      ...row.lora.bytes[precision].map(formatBytes),
    ]),
  ]);
};

/** The tables of `mos params --table`. */
export function paperTableText(model: string, rows: readonly PaperTableRow[]): string {
  const problems = rows.flatMap(({ method, rank, problem }) =>
    problem === undefined ? [] : [`${method} ${rank} does not fit this model: ${problem}`],
  );
  return [
    `The paper's settings on ${model}`,
    parameterTable(rows),
    `Memory for ${FLEETS.map(formatInteger).join(", ")} adapters, at the right of the LoRA as good`,
    ...PRECISIONS.map((precision) => memoryTable(rows, precision)),
    [
      "paper's avg: mean of six benchmark scores on LLaMA2-7B. LoRA as good: the rank whose average is nearest.",
      "PRoLoRA with u = 0 and m = 2 or 4; VeRA's shared projections, drawn from the seed, are counted once.",
      ...problems,
    ].join("\n"),
  ].join("\n\n");
}
