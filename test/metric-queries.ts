// The queries of deploy/ (alerts, panels, the autoscaler) against metrics in Prometheus' text format.
import { readFileSync } from "node:fs";
import { parse, parseAllDocuments } from "yaml";

const read = (path: string): string => readFileSync(`deploy/${path}`, "utf8");

/** Labels that Prometheus or the cluster adds to what it scrapes. */
const ADDED = ["instance", "job", "namespace", "pod"];

interface Query {
  readonly where: string;
  readonly text: string;
}

/** Values of a key, at any depth. */
function collect(key: string, value: unknown): readonly string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) =>
    name === key && typeof inner === "string" ? [inner] : collect(key, inner),
  );
}

/** All queries of deploy/. */
export const deployedQueries = (): readonly Query[] =>
  [
    { where: "grafana/mos.json", texts: collect("expr", JSON.parse(read("grafana/mos.json"))) },
    { where: "prometheus/alerts.yml", texts: collect("expr", parse(read("prometheus/alerts.yml"))) },
    {
      where: "kubernetes/autoscaling/scaling.yaml",
      texts: parseAllDocuments(read("kubernetes/autoscaling/scaling.yaml")).flatMap((document) =>
        collect("query", document.toJS()),
      ),
    },
  ].flatMap(({ where, texts }) => texts.map((text) => ({ where, text })));

/** Labels by series; undefined where there is a metric, but no sample of it yet. */
function readSeries(exposition: string): ReadonlyMap<string, ReadonlySet<string> | undefined> {
  const series = new Map<string, Set<string> | undefined>();
  for (const [, name = "", type] of exposition.matchAll(/^# TYPE (\S+) (\w+)$/gm))
    for (const suffix of type === "histogram" ? ["_bucket", "_sum", "_count"] : [""])
      series.set(name + suffix, undefined);
  for (const [, name = "", labels = ""] of exposition.matchAll(/^([\w:]+)(?:\{(.*)\})? \S+$/gm)) {
    const known = series.get(name) ?? new Set(ADDED);
    for (const [, label = ""] of labels.matchAll(/(\w+)="/g)) known.add(label);
    series.set(name, known);
  }
  return series;
}

/** Series and labels that a query names and the metrics lack. */
export function findUnknown({ where, text }: Query, exposition: string): readonly string[] {
  const series = readSeries(exposition);
  const named = [...text.matchAll(/\b((?:mos|vllm)[_:]\w+)(?:\{([^}]*)\})?/g)].map(
    ([, name = "", matchers = ""]) => ({
      name,
      matched: [...matchers.matchAll(/(\w+)\s*(?:=|!)/g)].map(([, label = ""]) => label),
    }),
  );
  const grouped = [...text.matchAll(/\b(?:by|on) \(([^)]*)\)/g)].flatMap(([, list = ""]) => list.split(", "));
  return named.flatMap(({ name, matched }) => {
    if (!series.has(name)) return [`${where}: ${name}`];
    const labels = series.get(name);
    const unknown = [...matched, ...grouped].filter((label) => labels?.has(label) === false);
    return unknown.map((label) => `${where}: ${name} has no label ${label}`);
  });
}
