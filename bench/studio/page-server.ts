// The built studio before an API that computes nothing: runs of any length, and answers at a steady speed.
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import { json } from "node:stream/consumers";

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
};

/** Rows of the run `long`, and steps that the run `live` makes between two requests for it: some sixty a second. */
export const [LONG, LIVE_STEPS] = [20_000, 100];

export const [ANSWER_TOKENS, TOKENS_PER_SECOND] = [500, 100];

const MODELS = ["base", ...Array.from({ length: 7 }, (_, index) => `adapter-${index + 1}`)];

const lossAt = (step: number): number => 0.8 + 2.4 * Math.exp(-step / 4000) + 0.2 * Math.sin(step * step);

const run = (id: string, step: number, total: number) => ({
  id,
  object: "run",
  kind: id === "live" ? "job" : "folder",
  name: id,
  status: id === "live" ? "running" : "succeeded",
  created_at: 1_760_000_000,
  finished_at: null,
  model: "base",
  method: "mos",
  tenant: null,
  step,
  total_steps: total,
  loss: lossAt(step),
  validation_loss: 1,
  best_validation_loss: 1,
  best_step: 1,
  sparkline: Array.from({ length: 48 }, (_, index) => lossAt(index * 100)),
  settings: { rank: 8, learning_rate: 2e-4 },
  trainable_parameters: 1000,
  fine_tuned_model: null,
  error: null,
});

/** Measurements of the steps from one to another, with an evaluation after every hundredth. */
function metrics(from: number, to: number) {
  const step = Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => from + index);
  const evaluated = step.filter((at) => at % 100 === 0);
  return {
    object: "run.metrics",
    training: {
      step,
      loss: step.map(lossAt),
      learning_rate: step.map((at) => 2e-4 / (1 + at / 5000)),
      gradient_norm: step.map((at) => 1 + 0.5 * Math.cos(at * at)),
      tokens_per_second: step.map((at) => 5000 + (at % 100)),
    },
    validation: { step: evaluated, loss: evaluated.map((at) => lossAt(at) + 0.1) },
    last_step: to,
  };
}

const page = (data: readonly object[]) => ({
  object: "list",
  data,
  first_id: null,
  last_id: null,
  has_more: false,
});

/** A server for one benchmark. */
export interface PageServer {
  readonly address: string;
  /** Steps of the run `live` so far. */
  readonly liveSteps: () => number;
  readonly close: () => void;
}

type Answer = (url: URL) => object;

function apiRoutes(live: { step: number }): Readonly<Record<string, Answer>> {
  const runs = Array.from({ length: 500 }, (_, index) => run(`run-${index}`, 100, 100));
  const models = MODELS.map((id, index) => ({
    id,
    object: "model",
    created: index,
    owned_by: "mos",
    root: "base",
    parent: index === 0 ? null : "base",
    default_parameters: { temperature: 0, top_p: 1 },
  }));
  return {
    "/health": () => ({ status: "ok" }),
    "/studio/config.json": () => ({
      model: "base",
      version: "0",
      features: { service: true, runs: true, keys: false, adapters: true },
      needsKey: false,
      isAdmin: true,
    }),
    "/v1/runs": () => page(runs),
    "/v1/models": () => page(models),
    "/v1/runs/long": () => run("long", LONG, LONG),
    "/v1/runs/long/metrics": () => metrics(1, LONG),
    "/v1/runs/live": () => {
      live.step += LIVE_STEPS;
      return run("live", live.step, 1_000_000);
    },
    "/v1/runs/live/metrics": (url) =>
      metrics(Math.max(1, Number(url.searchParams.get("from_step"))), live.step),
    "/v1/fine_tuning/jobs/live/checkpoints": () => page([]),
  };
}

const EVENTS = { "content-type": "text/event-stream" };

/** An event for each step of the run `live`, until the page leaves. */
function streamEvents(response: ServerResponse, live: { readonly step: number }): void {
  response.writeHead(200, EVENTS);
  let sent = 0;
  const timer = setInterval(() => {
    for (; sent < live.step; sent++) {
      const isNote = sent % 20 === 0;
      const event = {
        id: `event-${sent}`,
        object: "fine_tuning.job.event",
        created_at: 1_760_000_000,
        level: "info",
        message: isNote ? `Checkpoint created at step ${sent}` : `Step ${sent}: training loss=1.0000`,
        type: isNote ? "message" : "metrics",
      };
      response.write(`data: ${JSON.stringify(event)}\n\n`);
    }
  }, 20);
  response.on("close", () => clearInterval(timer));
}

/** Answers of chats that were asked for together, each token when it is due. */
async function streamAnswers(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { requests } = (await json(request)) as { readonly requests: readonly object[] };
  response.writeHead(200, EVENTS);
  const indices = [...requests.keys()];
  const sendAll = (part: object): void => {
    for (const index of indices) response.write(`data: ${JSON.stringify({ index, ...part })}\n\n`);
  };
  sendAll({ status: 200, headers: EVENTS });
  const begun = performance.now();
  let sent = 0;
  const chunk = (delta: object, finish: string | null) =>
    `data: ${JSON.stringify({ id: "answer", object: "chat.completion.chunk", created: 0, model: "base", choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
  const timer = setInterval(() => {
    const due = Math.min(ANSWER_TOKENS, ((performance.now() - begun) / 1000) * TOKENS_PER_SECOND);
    for (; sent < due; sent++)
      sendAll({ text: chunk({ content: sent % 12 === 0 ? "word.\n" : " word" }, null) });
    if (sent < ANSWER_TOKENS) return;
    clearInterval(timer);
    sendAll({ text: `${chunk({}, "stop")}data: [DONE]\n\n` });
    sendAll({ end: "whole" });
    response.end("data: [DONE]\n\n");
  }, 10);
  response.on("close", () => clearInterval(timer));
}

/** Serves the page that `npm run studio:build` makes. */
export async function startPageServer(folder: string): Promise<PageServer> {
  const live = { step: 0 };
  const routes = apiRoutes(live);
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    const url = new URL(request.url ?? "/", "http://localhost");
    const route = routes[url.pathname];
    if (url.pathname.endsWith("/events")) streamEvents(response, live);
    else if (request.method === "POST") void streamAnswers(request, response);
    else if (route !== undefined) {
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify(route(url)));
    } else
      sendFile(
        response,
        join(folder, normalize(`/${url.pathname.replace(/^\/studio\/?/, "") || "index.html"}`)),
      );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    address: `http://127.0.0.1:${port}/studio/`,
    liveSteps: () => live.step,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

function sendFile(response: ServerResponse, path: string): void {
  try {
    const body = readFileSync(path);
    response.writeHead(200, { "content-type": TYPES[extname(path)] ?? "application/octet-stream" });
    response.end(body);
  } catch {
    response.writeHead(404).end();
  }
}
