// What the files of deploy/ say, against the program and against each other.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { z } from "zod";
import { findFlaw } from "../scripts/ci/commands.ts";

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
          valueFrom: z.object({ secretKeyRef: z.object({ name: z.string(), key: z.string() }) }),
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
      expect(env.map(({ name }) => name)).toEqual(["MOS_DATABASE_URL"]);
      for (const { valueFrom } of env) {
        expect(valueFrom.secretKeyRef.name).toBe(secret.name);
        expect(secretKeys).toContain(valueFrom.secretKeyRef.key);
      }
      const claims = pod.volumes.flatMap(({ persistentVolumeClaim: claim }) => claim?.claimName ?? []);
      expect(claims.filter((claim) => named("PersistentVolumeClaim", claim) === undefined)).toEqual([]);
      const files = pod.volumes.flatMap((volume) => volume.secret ?? []);
      expect(files.map(({ secretName }) => secretName)).toEqual(files.map(() => secret.name));
      expect(secretKeys).toEqual(
        expect.arrayContaining(files.flatMap(({ items }) => items.map(({ key }) => key))),
      );
      expect(volumeMounts.map(({ name }) => name)).toEqual(pod.volumes.map(({ name }) => name));
      const folders = args.flatMap((arg) => arg.match(/=(\/[^/]+)/)?.[1] ?? []);
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
