import type { Inspection } from "mixture-of-shards";
import { heatMap } from "./heat-map.ts";

/**
 * The norms of an adapter's updates as a heat map, layers by linear types.
 *
 * @returns SVG text; the same text for the same inspection.
 * @example
 * await writeFile("norms.svg", drawNorms(await inspectAdapter("adapters/acme"), "acme"));
 */
export function drawNorms({ sites, adapter }: Inspection, title: string): string {
  const layers = [...new Set(sites.map(({ layer }) => layer))].sort((a, b) => a - b);
  const found = new Map(sites.map((site) => [`${site.layer} ${site.linear}`, site.update]));
  return heatMap({
    title,
    subtitle: "Frobenius norm of the update, scale · B A",
    xTitle: "linear type",
    yTitle: "layer",
    valueTitle: "norm",
    cells: layers.flatMap((layer) =>
      adapter.targets.map((linear) => {
        const value = found.get(`${layer} ${linear}`);
        return { x: linear, y: String(layer), ...(value === undefined ? {} : { value }) };
      }),
    ),
  });
}
