import type { Loader, Spec } from "vega";
import type { TopLevelSpec } from "vega-lite";

/** Blue, orange, green, pink, light blue, red-orange (Okabe and Ito, 2008) and grey: told apart by the colour-blind. */
export const CATEGORIES = [
  "#0072b2",
  "#e69f00",
  "#009e73",
  "#cc79a7",
  "#56b4e9",
  "#d55e00",
  "#555555",
] as const;
export const PLAIN = "#7f9fbf";
export const EMPHASISED = "#d55e00";
export const INK = "#222222";
const FONT = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif";

const LOOKS = {
  background: "#ffffff",
  font: FONT,
  view: { stroke: "transparent" },
  title: { anchor: "start", fontSize: 16, subtitleFontSize: 12, subtitleColor: "#555555", offset: 12 },
  axis: { labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", labelColor: INK, titleColor: INK },
  legend: { labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", labelLimit: 300 },
} as const;

/** What all pictures share: where the words above stand. */
export interface Heading {
  readonly title?: string;
  /** One line under the title, or several. */
  readonly subtitle?: string | readonly string[];
}

/** The title as vega-lite takes it; nothing where there is none. */
export function heading({ title, subtitle }: Heading): Pick<TopLevelSpec, "title"> {
  if (title === undefined && subtitle === undefined) return {};
  const lines = typeof subtitle === "string" ? [subtitle] : (subtitle ?? []);
  return { title: { text: title ?? "", ...(lines.length === 0 ? {} : { subtitle: [...lines] }) } };
}

// A picture is made of what its options hold: nothing is read from disk or fetched.
const refuse = (): Promise<never> => Promise.reject(new Error("a chart loads nothing"));
const closedLoader: Loader = { load: refuse, sanitize: refuse, http: refuse, file: refuse };

/** Draws a vega-lite description to SVG text. Vega is big, so it is loaded when the first picture is drawn. */
export async function draw(description: TopLevelSpec): Promise<string> {
  const [vega, { compile }] = await Promise.all([import("vega"), import("vega-lite")]);
  const spec: Spec = compile({ config: LOOKS, ...description }, { logger: vega.logger(vega.None) }).spec;
  const view = new vega.View(vega.parse(spec), {
    renderer: "none",
    loader: closedLoader,
    logger: vega.logger(vega.None),
  });
  try {
    await view.runAsync();
    // Ids of gradients and clips count up in the process; starting over gives the same text for the same picture.
    vega.resetSVGDefIds();
    return await view.toSVG();
  } finally {
    view.finalize();
  }
}
