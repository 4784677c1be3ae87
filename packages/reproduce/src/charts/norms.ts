import type { Inspection } from "mixture-of-shards";
import { heatMap } from "./heat-map.ts";

/**
 * The norms of an adapter's updates as a heat map, layers by linear types.
 *
 * @returns SVG text; the same text for the same inspection.
 * @example
 * await writeFile("norms.svg", drawNorms(await inspectAdapter("adapters/acme"), "acme"));
 */
export function drawNorms({ sites, adapter, base, budget }: Inspection, name: string): string {
  const { method, rank, targets } = adapter;
  const layers = [...new Set(sites.map(({ layer }) => layer))].sort((a, b) => a - b);
  const found = new Map(sites.map((site) => [`${site.layer} ${site.linear}`, site.update]));
  return heatMap({
    title: `How much the adapter ${name} changes each weight matrix`,
    subtitle: `method ${method}, rank ${rank}, on ${base.name ?? "an unnamed base"}; ${budget.trainable.toLocaleString("en-US")} trainable parameters.`,
    xTitle: "linear type",
    yTitle: "layer",
    valueTitle: "Frobenius norm of the update, scale · B A",
    note: "A larger update is not a better one. The norm also grows with the size of a matrix.",
    cells: layers.flatMap((layer) =>
      targets.map((linear) => {
        const value = found.get(`${layer} ${linear}`);
        return { x: linear, y: String(layer), ...(value === undefined ? {} : { value }) };
      }),
    ),
  });
}
