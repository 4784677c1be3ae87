import { LINEAR_NAMES, type LinearName, type Site } from "#nn";

/** Linear layers that read the same input; one product serves them all. */
export type GroupName = "qkv" | "o" | "gateUp" | "down";

export const GROUPS: Readonly<Record<GroupName, readonly LinearName[]>> = {
  qkv: ["q_proj", "k_proj", "v_proj"],
  o: ["o_proj"],
  gateUp: ["gate_proj", "up_proj"],
  down: ["down_proj"],
};
export const GROUP_NAMES = Object.keys(GROUPS) as readonly GroupName[];

const GROUP_OF = new Map(
  GROUP_NAMES.flatMap((group) => GROUPS[group].map((linear): [LinearName, GroupName] => [linear, group])),
);

/** The group of a linear layer. */
export const groupOf = (linear: LinearName): GroupName => GROUP_OF.get(linear) ?? "o";

/** One group of one layer. */
export interface GroupSite {
  readonly layer: number;
  readonly group: GroupName;
}

export const groupKey = ({ layer, group }: GroupSite): string => `${layer}.${group}`;
export const groupOfSite = ({ layer, linear }: Site): GroupSite => ({ layer, group: groupOf(linear) });

/** All groups of a model of so many layers. */
export const groupSites = (layers: number): readonly GroupSite[] =>
  Array.from({ length: layers }, (_, layer) => GROUP_NAMES.map((group) => ({ layer, group }))).flat();

/** d_in of a group, d_out of each of its linear layers, and their sum. */
export interface GroupWidths {
  readonly in: number;
  readonly outs: readonly number[];
  readonly out: number;
}

/** Widths of a model's groups from the shapes [out, in] of its linear layers. */
export function groupWidths(
  shapeOf: (linear: LinearName) => readonly number[],
): Readonly<Record<GroupName, GroupWidths>> {
  const shapes = Object.fromEntries(LINEAR_NAMES.map((linear) => [linear, shapeOf(linear)]));
  const widthsOf = (group: GroupName): GroupWidths => {
    const outs = GROUPS[group].map((linear) => shapes[linear]?.[0] ?? 0);
    return { in: shapes[GROUPS[group][0] ?? ""]?.[1] ?? 0, outs, out: outs.reduce((a, b) => a + b, 0) };
  };
  return { qkv: widthsOf("qkv"), o: widthsOf("o"), gateUp: widthsOf("gateUp"), down: widthsOf("down") };
}
