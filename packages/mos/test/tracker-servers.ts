// Servers that keep what trackers get as MLflow, Weights & Biases and Trackio keep it. scripts/ci/trackers.sh holds them against the
// real ones: MLflow and Trackio get the same runs, and Weights & Biases' own client writes to this one.
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";

/** A row as a tracker shows it. */
export interface StoredRow {
  readonly step: number;
  readonly scalars: Readonly<Record<string, number>>;
}

interface Answer {
  readonly status?: number;
  readonly body: object;
}

/** What a server keeps when it is killed. */
interface Store {
  answer(path: string, body: Body, request: IncomingMessage): Answer;
  rows(): readonly StoredRow[];
  readonly isFinished: () => boolean;
  readonly config: () => Readonly<Record<string, unknown>>;
}
// biome-ignore lint/suspicious/noExplicitAny: requests of any shape
type Body = any;

/** A tracker's server, which may be killed and started again on its port. */
export async function trackerServer(store: Store) {
  let server: Server | undefined;
  let port = 0;
  /** Requests whose answer is lost, although they were carried out. */
  let lost = 0;
  /** The end of a path whose next request is not answered, and carried out after the one that follows it. */
  let delayed: string | undefined;
  let late: { readonly path: string; readonly carryOut: () => void } | undefined;
  const seen: string[] = [];
  const answerTo: Store["answer"] = (path, body, request) => {
    const answer = store.answer(path, body, request);
    if (late?.path === path) {
      late.carryOut();
      late = undefined;
    }
    return answer;
  };
  const start = async (): Promise<void> => {
    const opened = createServer(async (request, response) => {
      const path = request.url ?? "";
      const body = request.method === "GET" ? undefined : await json(request);
      seen.push(path);
      if (delayed !== undefined && path.endsWith(delayed)) {
        delayed = undefined;
        late = { path, carryOut: () => void store.answer(path, body, request) };
        response.destroy();
        return;
      }
      const { status = 200, body: answer } = answerTo(path, body, request);
      if (lost > 0 && /log-batch|file_stream|bulk_log/.test(path)) {
        lost--;
        response.destroy();
      } else response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(answer));
    });
    server = opened;
    await new Promise<void>((resolve) => opened.listen(port, "127.0.0.1", resolve));
    ({ port } = opened.address() as AddressInfo);
  };
  const kill = (): void => {
    server?.closeAllConnections();
    server?.close();
  };
  await start();
  return {
    ...store,
    url: `http://127.0.0.1:${port}`,
    seen,
    start,
    kill,
    loseAnswers: (count: number): void => {
      lost = count;
    },
    delayNext: (path: string): void => {
      delayed = path;
    },
    [Symbol.asyncDispose]: async () => kill(),
  };
}

/** Rows of single values, in their order. */
function collect(values: readonly { step: number; key: string; value: number }[]): readonly StoredRow[] {
  const rows = new Map<string, { step: number; scalars: Record<string, number> }>();
  const taken = new Map<string, number>();
  for (const { step, key, value } of values) {
    // a value that stands there twice makes a row of its own
    const nth = taken.get(`${step} ${key}`) ?? 0;
    taken.set(`${step} ${key}`, nth + 1);
    const id = `${step} ${key.startsWith("eval/") ? "eval" : "train"} ${nth}`;
    const row = rows.get(id) ?? { step, scalars: {} };
    row.scalars[key] = value;
    rows.set(id, row);
  }
  return [...rows.values()];
}

/** Names that MLflow takes; those with slashes, which must be normal paths, are left out. */
const isLegal = ({ key }: { key: string }): boolean => /^[\w.\- :]{1,250}$/.test(key);
const REFUSED: Answer = { status: 400, body: { error_code: "INVALID_PARAMETER_VALUE" } };

/** MLflow's REST API over its SQL store: a metric with the same name, time, step and value is there once. */
export function mlflowStore(): Store {
  interface Run {
    readonly id: string;
    readonly tags: readonly { key: string; value: string }[];
    readonly metrics: Map<string, { key: string; step: number; value: number }>;
    readonly params: Map<string, string>;
    status: string;
  }
  const experiments = new Map<string, string>();
  const runs = new Map<string, Run>();
  let made = 0;
  const shown = ({ id, status, metrics, params }: Run) => ({
    info: { run_id: id, status },
    data: {
      metrics: [...new Set([...metrics.values()].map(({ key }) => key))].map((key) => ({
        key,
        step: Math.max(...[...metrics.values()].filter((one) => one.key === key).map(({ step }) => step)),
      })),
      params: [...params].map(([key, value]) => ({ key, value })),
    },
  });
  const search = (filter: string) => {
    const [, key, value] = /^tags\."([^"]+)" = '([^']+)'$/.exec(filter) ?? [];
    const found = [...runs.values()].filter(({ tags }) =>
      tags.some((tag) => tag.key === key && tag.value === value),
    );
    return found.length === 0 ? undefined : found.reverse().map(shown);
  };
  const setParam =
    ({ params }: Run) =>
    ({ key, value }: { key: string; value: string }): boolean => {
      if ((params.get(key) ?? value) !== value) return false;
      params.set(key, value);
      return true;
    };
  const routes: Readonly<Record<string, (query: string, body: Body) => Answer>> = {
    "experiments/get-by-name": (query) => {
      const name = new URLSearchParams(query).get("experiment_name") ?? "";
      const id = experiments.get(name);
      if (id === undefined) return { status: 404, body: { error_code: "RESOURCE_DOES_NOT_EXIST" } };
      return { body: { experiment: { experiment_id: id, name } } };
    },
    "experiments/create": (_, { name }) => {
      experiments.set(name, String(experiments.size + 1));
      return { body: { experiment_id: String(experiments.size) } };
    },
    "runs/search": (_, { filter }) => ({ body: { runs: search(filter) } }),
    "runs/create": (_, { tags: given, start_time }) => {
      const tags: Run["tags"] = Number.isInteger(start_time) ? given : [];
      if (!tags.every(isLegal) || tags.some(({ key }) => key === "mlflow.runName")) return REFUSED;
      if (new Set(tags.map(({ key }) => key)).size < tags.length) return REFUSED;
      const id = `r${++made}`;
      runs.set(id, { id, tags, metrics: new Map(), params: new Map(), status: "RUNNING" });
      return { body: { run: { info: { run_id: id }, data: {} } } };
    },
    "runs/log-batch": (_, { run_id, params = [], metrics = [] }) => {
      const run = runs.get(run_id);
      if (run === undefined || !params.every(isLegal) || !params.every(setParam(run))) return REFUSED;
      for (const metric of metrics) {
        const { key, timestamp, step, value } = metric;
        run.metrics.set(JSON.stringify([key, timestamp, step, value]), metric);
      }
      return { body: {} };
    },
    "runs/update": (_, { run_id, status }) => {
      const run = runs.get(run_id);
      if (run === undefined) return REFUSED;
      run.status = status;
      return { body: {} };
    },
    "runs/delete": (_, { run_id }) => (runs.delete(run_id) ? { body: {} } : REFUSED),
  };
  const all = () => [...runs.values()];
  return {
    answer: (path, body) => {
      const [, what = "", query = ""] = /^\/api\/2\.0\/mlflow\/([^?]*)\??(.*)$/.exec(path) ?? [];
      return routes[what]?.(query, body) ?? { status: 404, body: { error_code: "ENDPOINT_NOT_FOUND" } };
    },
    rows: () => collect(all().flatMap(({ metrics }) => [...metrics.values()])),
    isFinished: () => runs.size === 1 && all().every(({ status }) => status === "FINISHED"),
    config: () => Object.fromEntries(all().flatMap(({ params }) => [...params])),
  };
}

/** Weights & Biases: a line of the history takes the place that it is sent for. */
export function wandbStore(key: string): Store {
  const lines: string[] = [];
  let config: Record<string, { value: unknown }> = {};
  let isFinished = false;
  return {
    answer: (path, body, { headers }) => {
      if (headers.authorization !== `Basic ${Buffer.from(`api:${key}`).toString("base64")}`)
        return { status: 401, body: { error: "invalid API key" } };
      if (path === "/graphql" && body.query.includes("upsertBucket")) {
        const { name, project, entity } = body.variables;
        config = JSON.parse(body.variables.config);
        const bucket = { id: "b", name, displayName: name, config: "{}", historyLineCount: lines.length };
        const place = { name: project, entity: { name: entity ?? "me" } };
        return {
          body: { data: { upsertBucket: { inserted: true, bucket: { ...bucket, project: place } } } },
        };
      }
      if (/^\/files\/[^/]+\/[^/]+\/[^/]+\/file_stream$/.test(path)) {
        const { offset = 0, content = [] } = body.files?.["wandb-history.jsonl"] ?? {};
        for (const [i, line] of content.entries()) lines[offset + i] = line;
        isFinished = body.complete === true && body.exitcode === 0;
        return { body: { exitcode: null, limits: {} } };
      }
      // what its client asks besides
      return {
        body: {
          data: {
            serverInfo: { features: [] },
            createRunFiles: { runID: "r", uploadHeaders: [], files: [] },
          },
        },
      };
    },
    rows: () =>
      lines.map((line) => {
        const {
          _step: _,
          _timestamp: __,
          _runtime: ___,
          "train/global_step": step,
          ...scalars
        } = JSON.parse(line);
        return { step, scalars };
      }),
    isFinished: () => isFinished,
    config: () => Object.fromEntries(Object.entries(config).map(([name, { value }]) => [name, value])),
  };
}

/** Trackio: a row whose id is there already is passed over. */
export function trackioStore(token: string): Store {
  const rows = new Map<string, StoredRow>();
  let config: Readonly<Record<string, unknown>> = {};
  return {
    answer: (path, body, { headers }) => {
      if (path !== "/api/bulk_log") return { status: 404, body: { error: "Unknown API" } };
      if (headers["x-trackio-write-token"] !== token)
        return { status: 400, body: { error: "A write_token is required" } };
      for (const { step, metrics, log_id, config: given } of body.logs) {
        if (given) config = given;
        if (!rows.has(log_id)) rows.set(log_id, { step, scalars: metrics });
      }
      return { body: { data: null } };
    },
    rows: () => [...rows.values()],
    isFinished: () => true, // it does not know ends
    config: () => config,
  };
}
