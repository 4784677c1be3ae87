// What the files of deploy/ say, against the program and against each other.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { z } from "zod";
import { createMetrics as createServiceMetrics } from "../packages/service/src/metrics.ts";
import { findFlaw } from "../scripts/ci/commands.ts";
import { idleStats } from "../scripts/ci/reference.ts";
import { createMetrics, createRecord } from "../src/server/metrics.ts";
import { networkSettings } from "../src/server/serve.ts";
import { deployedQueries, findUnknown } from "./metric-queries.ts";

const read = (path: string): string => readFileSync(join("deploy", path), "utf8");
const sources = (folder: string): string =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ts") && !path.endsWith(".test.ts"))
    .map((path) => readFileSync(join(folder, path), "utf8"))
    .join("\n");

/** `${NAME:-default}` as its default, and what has to be given as its name. */
const expanded = (text: string): string =>
  text.replaceAll(
    /\$\{(\w+)(?::-([^}]*)|:\?[^}]*)\}/g,
    (_, name: string, standard?: string) => standard ?? name,
  );
/** The value of `--name=value`. */
const readOption = (args: readonly string[], name: string): string | undefined =>
  args.find((arg) => arg.startsWith(`--${name}=`))?.slice(name.length + 3);
const readSeconds = (args: readonly string[], name: string): number => Number(readOption(args, name));

const dockerfile = read("Dockerfile").replaceAll(/\\\n\s*/g, " ");
const instructions = (name: string): readonly string[] =>
  [...dockerfile.matchAll(new RegExp(`^${name} (.*)$`, "gm"))].map(([, rest]) => rest ?? "");

describe("Dockerfile", () => {
  test("has the project's Node, and another user than root", () => {
    const node = readFileSync(".node-version", "utf8").trim();
    for (const from of instructions("FROM")) expect(from).toMatch(new RegExp(`^node:${node}-slim`));
    expect(instructions("USER").at(-1)).toBe("1000:1000");
    expect(instructions("STOPSIGNAL")).toEqual(["SIGTERM"]);
  });

  test("asks a route and a port that the server has", () => {
    expect(instructions("HEALTHCHECK").join()).toContain("http://127.0.0.1:8080/health");
    expect(instructions("EXPOSE")).toEqual(["8080"]);
    expect(findFlaw("curl http://127.0.0.1:8080/health")).toBeUndefined();
  });

  test("gets the files that it copies past its .dockerignore, and no others' libraries", () => {
    const ignored = read("Dockerfile.dockerignore").split("\n");
    const copied = instructions("COPY")
      .filter((rest) => !rest.startsWith("--from"))
      .flatMap((rest) => rest.split(" ").slice(0, -1));
    for (const path of copied)
      expect(
        ignored.some((line) => line === `!${path}` || path.startsWith(`${line.slice(1)}/`)),
        path,
      ).toBe(true);
    for (const run of instructions("RUN"))
      if (/npm (ci|prune)/.test(run)) expect(run).toContain("--ignore-scripts");
  });
});

const service = z.object({
  command: z.array(z.string()).optional(),
  environment: z.record(z.string(), z.string()),
  ports: z.array(z.string()).optional(),
  volumes: z.array(z.union([z.string(), z.object({ type: z.string(), target: z.string() })])),
  stop_grace_period: z.string().optional(),
  read_only: z.boolean().optional(),
});

describe("compose.yaml", () => {
  const { services, volumes } = z
    .object({ services: z.record(z.string(), service), volumes: z.record(z.string(), z.null()) })
    .parse(parse(expanded(read("compose.yaml")), { merge: true }));
  const { server } = services;
  const findCommand = (name: string): readonly string[] => services[name]?.command ?? [];

  test("has commands that the program understands, on one database, model and storage", () => {
    for (const name of ["server", "worker"]) {
      expect(findFlaw(["mos", ...findCommand(name)].join(" "))).toBeUndefined();
      expect(services[name]?.environment["MOS_DATABASE_URL"]).toMatch(/^postgres:\/\/mos:.*@postgres\/mos$/);
      expect(services[name]?.read_only).toBe(true);
      for (const option of ["model", "model-name", "storage"])
        expect(readOption(findCommand(name), option), option).toBe(readOption(findCommand("server"), option));
    }
    expect(services["postgres"]?.environment).toMatchObject({ POSTGRES_USER: "mos", POSTGRES_DB: "mos" });
    expect(findCommand("server").concat(findCommand("worker")).join()).not.toContain("database-url");
  });

  test("mounts what the commands name, and publishes the port that they open", () => {
    const mounts = (name: string): readonly string[] =>
      (services[name]?.volumes ?? []).map((volume) =>
        typeof volume === "string" ? (volume.split(":")[1] ?? "") : volume.target,
      );
    expect(mounts("server")).toEqual(["/storage", "/keys", "/models", "/tmp"]);
    expect(mounts("worker")).toEqual(["/storage", "/models", "/tmp"]);
    expect(readOption(findCommand("server"), "api-keys")).toMatch(/^\/keys\//);
    for (const volume of Object.values(services).flatMap((one) => one.volumes))
      if (typeof volume === "string" && !volume.startsWith("."))
        expect(Object.keys(volumes)).toContain(volume.split(":")[0]);
    expect(server?.ports).toEqual([`127.0.0.1:8080:${readOption(findCommand("server"), "port")}`]);
    // the image's health check asks there
    for (const name of ["server", "worker"]) expect(readOption(findCommand(name), "port"), name).toBe("8080");
  });

  test("gives running requests and slices the time that the programs give them", () => {
    expect(Number.parseInt(services["worker"]?.stop_grace_period ?? "", 10)).toBeGreaterThan(
      readSeconds(findCommand("worker"), "stop-seconds") + 10,
    );
    expect(Number.parseInt(server?.stop_grace_period ?? "", 10)).toBeGreaterThan(
      readSeconds(findCommand("server"), "drain-seconds") + 10,
    );
  });
});

const probe = z.object({ httpGet: z.object({ path: z.string(), port: z.string() }) });
const security = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ["ALL"] },
};
const podSchema = z.object({
  terminationGracePeriodSeconds: z.number(),
  securityContext: z.object({ runAsNonRoot: z.literal(true), runAsUser: z.literal(1000) }),
  containers: z.tuple([
    z.object({
      args: z.array(z.string()),
      env: z.array(
        z.object({
          name: z.string(),
          value: z.string().optional(),
          valueFrom: z.object({ secretKeyRef: z.object({ name: z.string(), key: z.string() }) }).optional(),
        }),
      ),
      ports: z.array(z.object({ name: z.string(), containerPort: z.number() })).default([]),
      startupProbe: probe.optional(),
      readinessProbe: probe.optional(),
      livenessProbe: probe.optional(),
      securityContext: z.unknown(),
      volumeMounts: z.array(z.object({ name: z.string(), mountPath: z.string() })),
    }),
  ]),
  volumes: z.array(
    z.object({
      name: z.string(),
      persistentVolumeClaim: z.object({ claimName: z.string() }).optional(),
      secret: z.object({ secretName: z.string(), items: z.array(z.object({ key: z.string() })) }).optional(),
    }),
  ),
});
const objectSchema = z.looseObject({
  kind: z.string(),
  metadata: z.object({ name: z.string() }).optional(),
  spec: z.unknown().optional(),
});
/** What KEDA 2 knows of it, as far as it is used here. */
const scaledSchema = z.strictObject({
  scaleTargetRef: z.strictObject({ name: z.string() }),
  minReplicaCount: z.int(),
  maxReplicaCount: z.int(),
  triggers: z.tuple([
    z.strictObject({
      type: z.literal("prometheus"),
      metadata: z.strictObject({
        serverAddress: z.url(),
        query: z.string(),
        threshold: z.string().regex(/^\d+$/),
      }),
    }),
  ]),
});

describe("compose.serve.yaml", () => {
  const { services, volumes } = z
    .object({ services: z.object({ server: service.omit({ environment: true }) }), volumes: z.unknown() })
    .parse(parse(expanded(read("compose.serve.yaml"))));
  const { command = [], ports, read_only, stop_grace_period } = services.server;

  test("serves adapters without a database or state, from what it mounts", () => {
    expect(findFlaw(["mos", ...command].join(" "))).toBeUndefined();
    expect(command.join()).not.toMatch(/--(state|database-url|storage)/);
    expect(read_only).toBe(true);
    const mounts = services.server.volumes.map((volume) =>
      typeof volume === "string" ? volume.split(":").slice(1).join(":") : volume.target,
    );
    expect(mounts).toEqual(["/keys", "/adapters:ro", "/models:ro", "/tmp"]);
    expect(Object.keys(volumes as object)).toEqual(["keys"]);
    expect(readOption(command, "adapters")).toBe("/adapters");
    expect(readOption(command, "api-keys")).toMatch(/^\/keys\//);
    expect(ports).toEqual([`127.0.0.1:8080:${readOption(command, "port")}`]);
    expect(Number.parseInt(stop_grace_period ?? "", 10)).toBeGreaterThan(
      readSeconds(command, "drain-seconds") + 10,
    );
  });
});

describe("one machine", () => {
  const settings = (text: string, name: string): readonly string[] =>
    [...text.matchAll(new RegExp(`^\\s*${name}[ =]+(.*?);?$`, "gm"))].map(([, value = ""]) => value);
  const seconds = (value: string | undefined): number => Number.parseInt(value ?? "", 10);
  const keepAlive = Number(networkSettings.keepAlive.default);
  const requestTimeout = Number(networkSettings.requestTimeout.default);

  test("nginx and Caddy keep streams, long answers and connections as the server does", () => {
    const nginx = read("nginx.conf");
    expect(settings(nginx, "server")).toContain("127.0.0.1:8080");
    expect(settings(nginx, "proxy_buffering")).toEqual(["off"]);
    expect(settings(nginx, "proxy_http_version")).toEqual(["1.1"]);
    expect(seconds(settings(nginx, "keepalive_timeout")[0])).toBeLessThan(keepAlive);
    expect(seconds(settings(nginx, "proxy_read_timeout")[0])).toBe(requestTimeout);
    const caddy = read("Caddyfile");
    expect(settings(caddy, "flush_interval")).toEqual(["-1"]);
    expect(seconds(settings(caddy, "keepalive")[0])).toBeLessThan(keepAlive);
    expect(seconds(settings(caddy, "response_header_timeout")[0])).toBe(requestTimeout);
    for (const file of [nginx, caddy]) expect(file).toMatch(/\/metrics\b[^}]*404/);
  });

  test("the systemd unit runs a command that the program understands, with time to stop", () => {
    const unit = read("mos.service").replaceAll(/\\\n\s*/g, " ");
    const [start = ""] = settings(unit, "ExecStart");
    const command = /main\.js (serve .*)$/.exec(start)?.[1] ?? "";
    expect(findFlaw(`mos ${command}`)).toBeUndefined();
    const drain = Number(/--drain-seconds (\d+)/.exec(command)?.[1]);
    expect(seconds(settings(unit, "TimeoutStopSec")[0])).toBeGreaterThan(drain + 10);
    expect(/--usage-file (\S+)/.exec(command)?.[1]).toMatch(/^\/var\/lib\/mos\//);
    expect(settings(unit, "StateDirectory")).toEqual(["mos"]);
  });
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
  const record = createRecord({ method: "POST", path: "/", now: 0 });
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

describe("kubernetes", () => {
  const objectsIn = (folder: string) =>
    readdirSync(join("deploy/kubernetes", folder))
      .filter((file) => file.endsWith(".yaml"))
      .flatMap((file) => parseAllDocuments(read(`kubernetes/${folder}/${file}`)))
      .map((document) => objectSchema.parse(document.toJS()));
  const objects = objectsIn("base");
  const others = objectsIn("autoscaling");
  const named = (kind: string, name: string) =>
    objects.find((object) => object.kind === kind && object.metadata?.name === name);
  const findPod = (name: string) =>
    z.object({ template: z.object({ spec: podSchema }) }).parse(named("Deployment", name)?.spec).template
      .spec;
  const [server, worker] = [findPod("server"), findPod("worker")];
  const [serving] = server.containers;
  const [working] = worker.containers;
  const kustomization = z
    .looseObject({
      namespace: z.string(),
      secretGenerator: z.tuple([z.object({ name: z.string(), files: z.array(z.string()) })]),
    })
    .parse(objects.find(({ kind }) => kind === "Kustomization"));
  const [secret] = kustomization.secretGenerator;
  const secretKeys = secret.files.map((file) => file.split("=")[0]);

  const findSelector = (name: string) =>
    z.object({ selector: z.unknown() }).parse(named("Deployment", name)?.spec).selector;

  test("has commands that the program understands, of one model and storage", () => {
    for (const { args, securityContext } of [serving, working]) {
      expect(findFlaw(["mos", ...args].join(" "))).toBeUndefined();
      expect(securityContext).toEqual(security);
      for (const option of ["model", "model-name", "storage"])
        expect(readOption(args, option), option).toBe(readOption(serving.args, option));
    }
  });

  test("takes secrets, claims and folders that are there", () => {
    expect(readFileSync(".gitignore", "utf8")).toContain("/deploy/kubernetes/base/secrets/");
    for (const pod of [server, worker]) {
      const [{ env, args, volumeMounts }] = pod.containers;
      const secrets = env.flatMap(({ name, valueFrom }) =>
        valueFrom === undefined ? [] : [{ variable: name, ...valueFrom.secretKeyRef }],
      );
      expect(secrets.map(({ variable }) => variable)).toEqual([
        "MOS_DATABASE_URL",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
      ]);
      for (const { name, key } of secrets) {
        expect(name).toBe(secret.name);
        expect(secretKeys).toContain(key);
      }
      // pods share no disk
      expect(readOption(args, "storage")).toMatch(/^s3:\/\//);
      expect(objects.filter(({ kind }) => kind === "PersistentVolumeClaim")).toEqual([]);
      expect(pod.volumes.flatMap(({ persistentVolumeClaim: claim }) => claim ?? [])).toEqual([]);
      const files = pod.volumes.flatMap((volume) => volume.secret ?? []);
      expect(files.map(({ secretName }) => secretName)).toEqual(files.map(() => secret.name));
      expect(secretKeys).toEqual(
        expect.arrayContaining(files.flatMap(({ items }) => items.map(({ key }) => key))),
      );
      expect(volumeMounts.map(({ name }) => name)).toEqual(pod.volumes.map(({ name }) => name));
      const folders = [...args, ...env.map(({ value }) => `=${value}`)].flatMap(
        (text) => text.match(/=(\/[^/]+)/)?.[1] ?? [],
      );
      for (const folder of [...folders, "/tmp"])
        expect(volumeMounts.map(({ mountPath }) => mountPath)).toContain(folder);
    }
  });

  test("asks routes and ports that the server has, and waits as long as it drains", () => {
    for (const { ports, args, startupProbe, livenessProbe, readinessProbe } of [serving, working]) {
      const [port] = ports;
      expect(String(port?.containerPort)).toBe(readOption(args, "port"));
      expect(readOption(args, "host")).toBe("0.0.0.0");
      expect(startupProbe?.httpGet).toEqual({ path: "/health", port: port?.name });
      expect(livenessProbe?.httpGet).toEqual({ path: "/health", port: port?.name });
      if (readinessProbe !== undefined)
        expect(readinessProbe.httpGet).toEqual({ path: "/ready", port: port?.name });
    }
    expect(serving.readinessProbe).toBeDefined();
    for (const path of ["/health", "/ready", "/metrics"])
      expect(findFlaw(`curl http://127.0.0.1:8080${path}`)).toBeUndefined();
    const [port] = serving.ports;
    expect(named("Service", "mos")?.spec).toMatchObject({ ports: [{ targetPort: port?.name }] });
    const drain = readSeconds(serving.args, "drain-delay") + readSeconds(serving.args, "drain-seconds");
    expect(server.terminationGracePeriodSeconds).toBeGreaterThan(drain + 10);
    const stop = readSeconds(working.args, "stop-seconds");
    expect(worker.terminationGracePeriodSeconds).toBeGreaterThan(stop + 10);
  });

  test("scales by metrics that the program has", () => {
    const metrics = sources("src/server") + sources("packages/service/src");
    const scaled = others.filter(({ kind }) => kind === "ScaledObject");
    expect(scaled.map(({ metadata }) => metadata?.name).sort()).toEqual(["server", "worker"]);
    for (const { metadata, spec } of scaled) {
      const { scaleTargetRef, triggers } = scaledSchema.parse(spec);
      expect(named("Deployment", scaleTargetRef.name)).toBeDefined();
      const [{ metadata: trigger }] = triggers;
      const names = trigger.query.match(/\bmos_\w+/g) ?? [];
      expect(names).toHaveLength(2);
      expect(names.filter((name) => !metrics.includes(`"${name}"`))).toEqual([]);
      expect(trigger.query).toContain(`namespace="${kustomization.namespace}"`);
      if (metadata?.name === "worker")
        expect(trigger.query).toContain(`model="${readOption(working.args, "model-name")}"`);
      else expect(Number(trigger.threshold)).toBeLessThan(readSeconds(serving.args, "max-batch"));
    }
  });

  test("has Prometheus read them, of servers with a key of the secret", () => {
    const endpoint = { port: serving.ports[0]?.name, path: "/metrics", interval: "15s" };
    const authorization = { credentials: { name: secret.name, key: "metrics-key" } };
    const monitors = others.filter(({ kind }) => kind === "PodMonitor");
    expect(monitors.map(({ spec }) => spec)).toEqual([
      { selector: findSelector("server"), podMetricsEndpoints: [{ ...endpoint, authorization }] },
      { selector: findSelector("worker"), podMetricsEndpoints: [endpoint] },
    ]);
    expect(secretKeys).toContain("metrics-key");
  });
});
