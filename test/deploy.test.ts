// The files of deploy/ against the program: its commands, the time that it needs to stop, its connections and metrics.
// scripts/ci/deploy.sh starts what they describe.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { settingInfo } from "mixture-of-shards-core/common";
import { networkSettings } from "mixture-of-shards-server";
import { expect, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { z } from "zod";
import { createMetrics, createRecord } from "../packages/server/src/metrics.ts";
import { createMetrics as createServiceMetrics } from "../packages/service/src/metrics.ts";
import { findFlaw } from "../scripts/ci/commands.ts";
import { idleStats } from "../scripts/ci/reference.ts";
import { deployedQueries, findUnknown } from "./metric-queries.ts";

const read = (path: string): string => readFileSync(join("deploy", path), "utf8");

/** `${NAME:-default}` as its default, and what has to be given as its name. */
const expanded = (text: string): string =>
  text.replaceAll(
    /\$\{(\w+)(?::-([^}]*)|:\?[^}]*)\}/g,
    (_, name: string, standard?: string) => standard ?? name,
  );
const seconds = (value: string | undefined): number => Number.parseInt(value ?? "", 10);

/** A process of ours, and the seconds that it has to stop in. */
interface Deployed {
  readonly args: readonly string[];
  readonly stop: number;
}

function composed(path: string): readonly Deployed[] {
  const service = z.looseObject({
    command: z.array(z.string()).optional(),
    stop_grace_period: z.string().optional(),
  });
  const { services } = z
    .looseObject({ services: z.record(z.string(), service) })
    .parse(parse(expanded(read(path)), { merge: true }));
  return Object.entries(services).flatMap(([name, { command, stop_grace_period: stop }]) =>
    command === undefined || !["server", "worker"].includes(name)
      ? []
      : [{ args: command, stop: seconds(stop) }],
  );
}

function orchestrated(): readonly Deployed[] {
  const folder = "kubernetes/base";
  const deployment = z.looseObject({
    kind: z.literal("Deployment"),
    spec: z.object({
      template: z.object({
        spec: z.looseObject({
          terminationGracePeriodSeconds: z.number(),
          containers: z.tuple([z.looseObject({ args: z.array(z.string()) })]),
        }),
      }),
    }),
  });
  return readdirSync(join("deploy", folder))
    .filter((file) => file.endsWith(".yaml"))
    .flatMap((file) => parseAllDocuments(read(`${folder}/${file}`)))
    .flatMap((document) => deployment.safeParse(document.toJS()).data ?? [])
    .map(({ spec }) => spec.template.spec)
    .map(({ containers: [{ args }], terminationGracePeriodSeconds: stop }) => ({ args, stop }));
}

const settings = (text: string, name: string): readonly string[] =>
  [...text.matchAll(new RegExp(`^\\s*${name}[ =]+(.*?);?$`, "gm"))].map(([, value = ""]) => value);

function unit(): readonly Deployed[] {
  const text = read("mos.service").replaceAll(/\\\n\s*/g, " ");
  const command = /main\.js (serve .*)$/.exec(settings(text, "ExecStart")[0] ?? "")?.[1] ?? "";
  return [
    {
      args: command.replaceAll(/(--\S+) ([^-]\S*)/g, "$1=$2").split(" "),
      stop: seconds(settings(text, "TimeoutStopSec")[0]),
    },
  ];
}

test.each([
  ["compose.yaml", composed("compose.yaml"), 2],
  ["compose.serve.yaml", composed("compose.serve.yaml"), 1],
  ["kubernetes", orchestrated(), 2],
  ["mos.service", unit(), 1],
])("%s has commands that the program understands, of one model, and time to stop", (_, all, count) => {
  expect(all).toHaveLength(count);
  const read = (args: readonly string[], name: string) =>
    args.find((arg) => arg.startsWith(`--${name}=`))?.slice(name.length + 3);
  for (const { args, stop } of all) {
    expect(findFlaw(["mos", ...args].join(" "))).toBeUndefined();
    for (const name of ["model", "model-name", "storage"])
      expect(read(args, name), name).toBe(read(all[0]?.args ?? [], name));
    const needed = ["drain-delay", "drain-seconds", "stop-seconds"].map((name) =>
      Number(read(args, name) ?? 0),
    );
    expect(Math.max(...needed)).toBeGreaterThan(0);
    expect(stop).toBeGreaterThan(needed.reduce((sum, time) => sum + time, 10));
  }
});

test("nginx and Caddy keep streams, long answers and connections as the server does", () => {
  const keepAlive = Number(settingInfo(networkSettings.keepAlive).default);
  const requestTimeout = Number(settingInfo(networkSettings.requestTimeout).default);
  const nginx = read("nginx.conf");
  expect(settings(nginx, "proxy_buffering")).toEqual(["off"]);
  expect(seconds(settings(nginx, "keepalive_timeout")[0])).toBeLessThan(keepAlive);
  expect(seconds(settings(nginx, "proxy_read_timeout")[0])).toBe(requestTimeout);
  const caddy = read("Caddyfile");
  expect(settings(caddy, "flush_interval")).toEqual(["-1"]);
  expect(seconds(settings(caddy, "keepalive")[0])).toBeLessThan(keepAlive);
  expect(seconds(settings(caddy, "response_header_timeout")[0])).toBe(requestTimeout);
  for (const file of [nginx, caddy]) expect(file).toMatch(/\/metrics\b[^}]*404/);
});

test("nginx sends all turns of a conversation to one server, whoever writes them", () => {
  const [, pattern = ""] =
    /map \$request_body \$mos_start \{[^}]*?"~(.+)" \$mos_text;/.exec(read("nginx-servers.conf")) ?? [];
  // as nginx reads it, and PCRE's notation as JavaScript's
  const start = new RegExp(pattern.replaceAll('\\"', '"').replace("(?s)", "").replace("\\z", "$"), "s");
  const startOf = (body: object, spaces?: number): string | undefined =>
    start.exec(JSON.stringify(body, null, spaces))?.groups?.["mos_text"];
  const turns = (question: string, answers: number, write: (text: string) => unknown) => [
    { role: "system", content: "Be short." },
    { role: "user", content: write(question) },
    ...Array.from({ length: answers }, (_, i) => [
      { type: "message", id: "msg_1", role: "assistant", content: write(`Answer ${i}`) },
      { role: "user", content: write(`And [{"what": "else"}], ${i}?`) },
    ]).flat(),
  ];
  const asText = (text: string) => text;
  const asBlocks = (text: string) => [{ type: "text", text }];
  const more = { model: "acme", max_tokens: 9 };
  for (const field of ["messages", "input"])
    for (const write of [asText, asBlocks])
      for (const spaces of [undefined, 1])
        for (const wrap of [
          (list: object) => ({ [field]: list, ...more }),
          (list: object) => ({ ...more, [field]: list }),
        ]) {
          const starts = [0, 1, 3].map((answers) => startOf(wrap(turns('"Who?"}', answers, write)), spaces));
          expect(starts[0]).toContain("Who?");
          expect(new Set(starts).size).toBe(1);
          expect(startOf(wrap(turns("When?", 0, write)), spaces)).not.toBe(starts[0]);
        }
  expect(startOf({ prompt: "x".repeat(2000) })).toHaveLength(512);
});

test("alerts, panels and the autoscaler name metrics and labels that servers export", async () => {
  const service = createServiceMetrics();
  service.sliceEnded({ model: "m", result: "lost", seconds: 1 });
  service.trainerStalled({ model: "m" });
  service.webhookAttempted("failed");
  const state = {
    jobs: [],
    workers: [{ model: "m", version: "1", count: 1 }],
    deliveries: 0,
  };
  const server = createMetrics({
    engine: { stats: async () => idleStats },
    modelName: "m",
    now: () => 0,
    more: () => service.render({ read: async () => state, model: "m" }),
  });
  server.firstToken(1);
  server.nextToken(1);
  const record = createRecord({ method: "POST", path: "/", startedAt: 0 });
  server.ended({ ...record, status: 200, model: "m", keyName: "k" });
  const { text } = await server.render();
  const queries = deployedQueries();
  expect(queries.length).toBeGreaterThan(40);
  expect(queries.flatMap((query) => findUnknown(query, text))).toEqual([]);
  const wrong = { where: "here", text: 'sum by (modle) (mos_slices_total{resul="lost"}) + mos_nothing' };
  expect(findUnknown(wrong, text)).toEqual([
    "here: mos_slices_total has no label resul",
    "here: mos_slices_total has no label modle",
    "here: mos_nothing",
  ]);
});
