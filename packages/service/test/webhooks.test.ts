// Webhooks: what tenants are told, by OpenAI's signatures, at least once, and at addresses of the internet only.
import dns from "node:dns";
import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import OpenAI from "openai";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { addServiceRoutes } from "#api";
import {
  type JobRow,
  jobRequestSchema,
  type Outbox,
  openOutbox,
  openSlices,
  type Slices,
  type Stores,
  toTrainingPlan,
} from "#store";
import { deliverWebhooks } from "#webhooks";
import { replaceBuiltin } from "../../../test/replace-builtin.ts";
import { lookupPublic } from "../src/webhooks/deliver.ts";
import { databases, openTables, type TestTables } from "./databases.ts";
import { addTrainingFile, untilDue } from "./queued-job.ts";
import { makeServer, type TestServer } from "./server.ts";

/** What names of these tests mean, in place of what a network says. */
const names = new Map<string, readonly string[]>();
replaceBuiltin(dns, "lookup", (real) => {
  const lookup = (name: string, options: { all?: boolean }, done: (...found: unknown[]) => void): void => {
    const found = names.get(name)?.map((address) => ({ address, family: address.includes(":") ? 6 : 4 }));
    if (found === undefined) real(name, options as { all: true }, done);
    else if (options.all === true) done(null, found);
    else done(null, found[0]?.address, found[0]?.family);
  };
  return lookup as typeof real;
});

const until = <T>(check: () => T | Promise<T>): Promise<T> =>
  vi.waitFor(check, { timeout: 30_000, interval: 20 });

interface Received {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** A server of a tenant: answers by the paths of its URLs. */
async function startReceiver() {
  const received: Received[] = [];
  const hung = new Set<ServerResponse>();
  const answers = new Map<string, (response: ServerResponse, attempt: number) => void>();
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    const path = request.url ?? "";
    received.push({ path, headers: request.headers, body });
    const attempt = received.filter((other) => other.path === path).length;
    const answer = answers.get(path);
    if (answer === undefined) response.writeHead(200).end("ok");
    else answer(response, attempt);
    if (!response.writableEnded && !response.destroyed) hung.add(response);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    received,
    hung,
    answers,
    port,
    url: `http://127.0.0.1:${port}`,
    at: (path: string) => received.filter((one) => one.path === path),
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

describe.each(databases)("%s", (_, open) => {
  let opened: TestTables;
  let stores: Stores;
  let slices: Slices;
  let outbox: Outbox;
  let server: TestServer;
  let receiver: Awaited<ReturnType<typeof startReceiver>>;
  const log: object[] = [];
  /** The last is the receiver's, another one for each test. */
  const webhookPorts = [443, 80, 8080, 0];
  const stops: (() => Promise<void>)[] = [];

  beforeAll(async () => {
    opened = await openTables(open);
    const { database } = opened;
    ({ stores } = opened);
    slices = openSlices(database);
    outbox = openOutbox(database);
    server = await startServer({});
  });
  afterAll(async () => {
    await opened[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    await opened.database.query(
      "truncate jobs, files, models, events, checkpoints, webhooks, webhook_deliveries",
    );
    receiver = await startReceiver();
    webhookPorts[3] = receiver.port;
  });
  afterEach(async () => {
    for (const stop of stops.splice(0)) await stop();
    await receiver[Symbol.asyncDispose]();
    names.clear();
  });

  const unused = (): never => {
    throw new Error("not used here");
  };
  /** The service's routes; with keys, the token is the tenant's name, and "root" is an administrator. */
  const startServer = (options: { readonly hasKeys?: boolean }): Promise<TestServer> =>
    makeServer({
      keys:
        options.hasKeys === true
          ? { find: async (name) => ({ name, isAdmin: name === "root", mayUse: () => true }) }
          : undefined,
      extension: {
        routes: (app) =>
          addServiceRoutes(app, {
            ...stores,
            modelName: "tiny",
            learningRate: 0.002,
            maxFileBytes: 1000,
            objects: {} as never,
            webhookPorts,
            checkPlan: unused,
            publish: unused,
            unpublish: unused,
            nextSeed: unused,
            checkExpiry: unused,
            preview: unused,
            grading: {} as never,
            checkFile: unused,
          }),
      },
    });
  const as = (tenant: string) => ({ authorization: `Bearer ${tenant}` });

  /** A deliverer as a server has it, but in a hurry. */
  function deliver(more: { readonly pauses?: readonly number[]; readonly answerSeconds?: number } = {}) {
    const stopping = new AbortController();
    const outcomes: string[] = [];
    const write = (fields: object): void => void log.push(fields);
    const done = deliverWebhooks({
      outbox,
      log: { info: write, warn: write, error: write },
      signal: stopping.signal,
      ports: webhookPorts,
      idleSeconds: 0.02,
      pauses: [0.01, 0.01, 0.01, 0.01, 0.01, 0.01],
      ...more,
      onAttempt: (outcome) => outcomes.push(outcome),
    });
    const stop = async (): Promise<void> => {
      stopping.abort();
      await done;
    };
    stops.push(stop);
    return { outcomes, stop };
  }

  async function create(tenant = "anybody"): Promise<JobRow> {
    const training = await addTrainingFile(stores, { tenant });
    const request = jobRequestSchema.parse({ model: "tiny", training_file: training.id });
    return stores.jobs.create({
      tenant,
      request,
      plan: toTrainingPlan(request, { seed: 1, learningRate: 0.002 }),
      training,
      validation: undefined,
    });
  }
  async function claimed(): Promise<JobRow> {
    const job = await untilDue(() => slices.claim("tiny", "w"));
    return job;
  }
  const succeeded = {
    type: "succeeded",
    adapter: {},
    results: { digest: "d".repeat(64), bytes: 7 },
    step: 3,
    steps: 3,
    trainedTokens: 30,
    seconds: 1,
  } as const;
  const failed = { type: "failed", code: "invalid_training_file", message: "no" } as const;
  const cancelOne = async (tenant = "anybody"): Promise<JobRow> => {
    const { id } = await create(tenant);
    return stores.jobs.cancel({ tenant, isAdmin: false }, id);
  };

  const add = async (path: string, more: object = {}, of = server) =>
    (await of.send("/v1/webhooks", { url: `${receiver.url}${path}`, ...more })).json;
  const lastDelivery = async (id: string) => (await server.send(`/v1/webhooks/${id}`)).json.last_delivery;

  test("tells how jobs ended, by signatures that OpenAI's client accepts", async () => {
    const client = new OpenAI({ apiKey: "none" });
    const webhook = await add("/all", { description: "all of them" });
    const few = await add("/few", { events: ["fine_tuning.job.failed"] });
    expect(webhook).toMatchObject({
      object: "webhook",
      organization_id: "anybody",
      status: "enabled",
      description: "all of them",
      secret: expect.stringMatching(/^whsec_/),
      events: ["fine_tuning.job.succeeded", "fine_tuning.job.failed", "fine_tuning.job.cancelled"],
    });
    const ids: Record<string, string> = {};
    await create();
    const first = await claimed();
    ids["fine_tuning.job.succeeded"] = first.id;
    expect(await slices.end(first, succeeded)).toBe(true);
    await create();
    const second = await claimed();
    ids["fine_tuning.job.failed"] = second.id;
    expect(await slices.end(second, failed)).toBe(true);
    // whoever ends a job a second time is not heard
    expect(await slices.end(second, failed)).toBe(false);
    ids["fine_tuning.job.cancelled"] = (await cancelOne()).id;
    await cancelOne("zeta"); // nobody else's concern
    deliver();
    await until(() => expect(receiver.received).toHaveLength(4));
    expect(receiver.at("/few").map(({ body }) => JSON.parse(body).type)).toEqual(["fine_tuning.job.failed"]);
    const told: Record<string, string> = {};
    for (const { body, headers } of receiver.at("/all")) {
      const event = await client.webhooks.unwrap(body, headers as Record<string, string>, webhook.secret);
      if (!event.type.startsWith("fine_tuning.job")) throw new Error(event.type);
      expect(event).toEqual({
        id: headers["webhook-id"],
        object: "event",
        created_at: expect.any(Number),
        type: event.type,
        data: { id: expect.any(String) },
      });
      told[event.type] = (event.data as { id: string }).id;
      const changed = client.webhooks.unwrap(`${body} `, headers as Record<string, string>, webhook.secret);
      await expect(changed).rejects.toThrow("signature");
      const other = client.webhooks.unwrap(body, headers as Record<string, string>, few.secret);
      await expect(other).rejects.toThrow("signature");
    }
    expect(told).toEqual(ids);
    await until(async () =>
      expect(await lastDelivery(webhook.id)).toMatchObject({
        status: "delivered",
        response_status: 200,
        attempts: 1,
      }),
    );
    expect(JSON.stringify(log)).not.toContain(webhook.secret.slice(6));
  });

  test("a receiver that fails in any way is told again, the same with the same id", async () => {
    const webhook = await add("/bad");
    receiver.answers.set("/bad", (response, attempt) => {
      if (attempt === 1) response.writeHead(500).end("x".repeat(100_000));
      if (attempt === 2) response.writeHead(307, { location: `${receiver.url}/elsewhere` }).end();
      if (attempt === 3) response.destroy();
      if (attempt === 5) response.writeHead(204).end();
      // the fourth hangs
    });
    const job = await cancelOne();
    const { outcomes } = deliver({ answerSeconds: 2 });
    await until(() => expect(outcomes).toEqual([...Array(4).fill("retried"), "delivered"]));
    const attempts = receiver.at("/bad");
    expect(new Set(attempts.map(({ body }) => body)).size).toBe(1);
    expect(new Set(attempts.map(({ headers }) => headers["webhook-id"])).size).toBe(1);
    expect(receiver.at("/elsewhere")).toEqual([]);
    await until(async () =>
      expect(await lastDelivery(webhook.id)).toMatchObject({
        status: "delivered",
        attempts: 5,
        response_status: 204,
        error: null,
        next_attempt_at: null,
        data: { id: job.id },
      }),
    );
  });

  test("it is given up in the end, and 410 disables the webhook with all that waits for it", async () => {
    const stubborn = await add("/stubborn");
    receiver.answers.set("/stubborn", (response) => response.writeHead(503).end());
    const gone = await add("/gone");
    receiver.answers.set("/gone", (response) => response.writeHead(410).end());
    await cancelOne();
    await cancelOne();
    deliver({ pauses: [0.01, 0.01] });
    await until(() => expect(receiver.at("/stubborn")).toHaveLength(6));
    await until(async () =>
      expect(await lastDelivery(stubborn.id)).toMatchObject({
        status: "failed",
        attempts: 3,
        response_status: 503,
        error: "the receiver returned status 503",
        next_attempt_at: null,
      }),
    );
    const { status, last_delivery } = (await server.send(`/v1/webhooks/${gone.id}`)).json;
    expect([status, last_delivery.status]).toEqual(["disabled", "failed"]);
    await cancelOne();
    expect((await server.send(`/v1/webhooks/${gone.id}/deliveries`)).json.data).toHaveLength(2);
    expect((await server.send(`/v1/webhooks/${gone.id}/test`, {})).status).toBe(400);
  });

  test("several servers deliver nothing twice, and a tenant whose receiver hangs delays nobody else", async () => {
    receiver.answers.set("/hangs", () => undefined);
    await add("/hangs");
    for (let i = 0; i < 10; i++) await cancelOne();
    await stores.webhooks.add({
      tenant: "zeta",
      url: `${receiver.url}/zeta`,
      description: null,
      allowsPrivate: true,
      events: ["fine_tuning.job.cancelled"],
    });
    for (let i = 0; i < 12; i++) await cancelOne("zeta");
    const deliverers = [deliver(), deliver()];
    await until(() => expect(receiver.at("/zeta").length).toBeGreaterThanOrEqual(12));
    await until(() => expect(receiver.hung.size).toBe(8));
    // each is made once only, by either of them
    await new Promise((resolve) => setTimeout(resolve, 100));
    const ids = receiver.at("/zeta").map(({ headers }) => headers["webhook-id"]);
    expect([ids.length, new Set(ids).size]).toEqual([12, 12]);
    expect(receiver.at("/hangs")).toHaveLength(8);
    for (const { stop } of deliverers) await stop();
    // what a server that was stopped had in hand is due again
    receiver.answers.clear();
    deliver();
    await until(() =>
      expect(new Set(receiver.at("/hangs").map(({ headers }) => headers["webhook-id"])).size).toBe(10),
    );
  });

  test("what a dead server had is delivered by another, and the dead one has no say any more", async () => {
    const webhook = await add("/all");
    await cancelOne();
    const claimOne = async () => {
      const delivery = await outbox.claim([], 60);
      if (delivery === undefined) throw new Error("nothing is due");
      return delivery;
    };
    /** As if the time of a claim were over. */
    const end = () => opened.database.query("update webhook_deliveries set due_at = now()");
    const dead = await claimOne();
    await expect(claimOne()).rejects.toThrow("nothing is due");
    await end();
    await until(claimOne);
    await outbox.end(dead, { type: "failed", again: undefined, error: "late" });
    expect(await lastDelivery(webhook.id)).toMatchObject({ status: "waiting", attempts: 2, error: null });
    await end();
    deliver();
    await until(async () =>
      expect(await lastDelivery(webhook.id)).toMatchObject({ status: "delivered", attempts: 3 }),
    );
    expect(receiver.received).toHaveLength(1);
  });

  test("a job ends although its webhooks are being deleted", async () => {
    const { id } = await add("/all");
    const job = await create();
    const { cancelling } = await opened.database.transaction(async (transaction) => {
      await transaction.query("delete from webhooks where id = $1", [id]);
      const cancelling = stores.jobs.cancel({ tenant: "anybody", isAdmin: false }, job.id);
      await new Promise((resolve) => setTimeout(resolve, 200)); // it waits for the end of this transaction
      return { cancelling };
    });
    expect((await cancelling).status).toBe("cancelled");
    expect(await opened.database.query("select * from webhook_deliveries", [])).toEqual([]);
  });

  describe("with keys", () => {
    let guarded: TestServer;
    beforeAll(async () => {
      guarded = await startServer({ hasKeys: true });
    });
    const post = (url: string, tenant = "acme") => guarded.send("/v1/webhooks", { url }, as(tenant));

    test("an ordinary key may name nothing of this network", async () => {
      const urls = [
        "http://127.0.0.1/x",
        "http://127.1:8080/",
        "http://0x7f000001/",
        "http://2130706433/",
        "http://localhost/",
        "http://a.localhost./",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://100.64.0.1/",
        "http://0.0.0.0/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[fd00::1]/",
        "https://[64:ff9b::7f00:1]/",
        // IPv4 in IPv6 in every form that there was, of public addresses as well
        "https://[::127.0.0.1]/",
        "https://[::8.8.8.8]/",
        "https://[::ffff:8.8.8.8]/",
        "https://[::ffff:0:127.0.0.1]/",
        "https://[2002:7f00:1::]/",
        "https://[2001:0:7f00:1::]/",
        // none of the internet's, though none of a private network's either
        "https://[1000::1]/",
        "https://[4000::1]/",
        "https://[fec0::1]/",
        "https://[2001:db8::1]/",
        "http://192.0.2.1/",
        "http://240.0.0.1/",
        // services of clouds: Azure, Alibaba, Oracle, IBM, and Amazon by IPv6
        "http://168.63.129.16/",
        "http://100.100.100.200/latest/meta-data/",
        "http://192.0.0.192/",
        "http://161.26.0.10/",
        "http://166.9.0.1/",
        "http://[fd00:ec2::254]/latest/meta-data/",
        "https://user:password@example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "example.com",
      ];
      for (const url of urls) {
        const { status, json } = await post(url);
        expect([url, status, json.error?.param]).toEqual([url, 400, "url"]);
      }
    });

    test("an ordinary key may name the ports of the option only", async () => {
      for (const url of [
        "https://example.com:22/",
        "http://example.com:6379/",
        "https://[2606:2800::1]:25/",
      ]) {
        const { status, json } = await post(url);
        expect([url, status, json.error?.param]).toEqual([url, 400, "url"]);
        expect(json.error.message).toMatch(/port \d+ is not allowed for webhooks; use 443, 80, 8080/);
      }
      for (const url of ["https://example.com/", "http://example.com/", "http://example.com:8080/"])
        expect([url, (await post(url, "ports")).status]).toEqual([url, 200]);
      expect((await post("https://example.com:22/", "root")).status).toBe(200);
      // one that was named when the option said otherwise
      const webhook = {
        tenant: "acme",
        url: "http://192.88.98.1:9/",
        description: null,
        allowsPrivate: false,
      };
      const { id } = await stores.webhooks.add({ ...webhook, events: ["fine_tuning.job.cancelled"] });
      await cancelOne("acme");
      const { outcomes } = deliver({ pauses: [] });
      await until(() => expect(outcomes).toEqual(["failed"]));
      const { last_delivery } = (await guarded.send(`/v1/webhooks/${id}`, undefined, as("acme"))).json;
      expect(last_delivery.error).toBe("port 9 is not allowed for webhooks");
    });

    test("an administrator may, and a name of the internet is taken as it is", async () => {
      const { json } = await post(`${receiver.url}/private`, "root");
      const sent = await guarded.send(`/v1/webhooks/${json.id}/test`, {}, as("root"));
      expect(sent.json).toMatchObject({ object: "webhook.delivery", status: "waiting", attempts: 0 });
      deliver();
      await until(() => expect(receiver.at("/private")).toHaveLength(1));
      expect(JSON.parse(receiver.at("/private")[0]?.body ?? "").data).toEqual({ id: "ftjob-test" });
      expect((await post("https://hooks.example.com/x?y=1")).json.url).toBe(
        "https://hooks.example.com/x?y=1",
      );
    });

    test.each([
      ["private", ["127.0.0.1"]],
      ["private in part", ["93.184.215.14", "127.0.0.1"]],
      ["private and mapped", ["::ffff:127.0.0.1"]],
      ["private and compatible", ["::127.0.0.1"]],
      ["a cloud's own", ["168.63.129.16"]],
    ])("a name whose addresses are %s is not connected to", async (_, addresses) => {
      names.set("hooks.test", addresses);
      const { json } = await post(`http://hooks.test:${receiver.port}/x`);
      await cancelOne("acme");
      const { outcomes } = deliver({ pauses: [0.01] });
      await until(() => expect(outcomes).toEqual(["retried", "failed"]));
      expect(receiver.received).toEqual([]);
      await until(async () => {
        const { last_delivery } = (await guarded.send(`/v1/webhooks/${json.id}`, undefined, as("acme"))).json;
        expect(last_delivery).toMatchObject({
          status: "failed",
          error: "hooks.test does not resolve to a public address",
        });
      });
    });

    test("an address that is private is not connected to, however it came there", async () => {
      const webhook = { tenant: "acme", url: `${receiver.url}/x`, description: null, allowsPrivate: false };
      await stores.webhooks.add({ ...webhook, events: ["fine_tuning.job.cancelled"] });
      await cancelOne("acme");
      const { outcomes } = deliver({ pauses: [] });
      await until(() => expect(outcomes).toEqual(["failed"]));
      expect(receiver.received).toEqual([]);
    });

    test("one whose addresses are public is connected to at one of them", async () => {
      names.set("hooks.test", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"]);
      const found = await new Promise<unknown[]>((resolve) => {
        lookupPublic("hooks.test", { all: true }, (...result) => resolve(result));
      });
      expect(found.slice(0, 2)).toEqual([
        null,
        [
          { address: "93.184.215.14", family: 4 },
          { address: "2606:2800:21f:cb07:6820:80da:af6b:8b2c", family: 6 },
        ],
      ]);
    });

    test("they are the tenant's own, ten of them, and their secret is shown once", async () => {
      const { json } = await post("https://example.com/");
      expect(json.secret).toMatch(/^whsec_[\w+/]{43}=$/);
      const mine = await guarded.send("/v1/webhooks", undefined, as("acme"));
      expect(mine.json.data.map(({ id }: { id: string }) => id)).toEqual([json.id]);
      expect(mine.text).not.toContain("whsec_");
      expect((await guarded.send(`/v1/webhooks/${json.id}`, undefined, as("acme"))).text).not.toContain(
        "whsec_",
      );
      const init = { method: "DELETE", headers: as("zeta") };
      for (const path of ["", "/deliveries"])
        expect((await guarded.send(`/v1/webhooks/${json.id}${path}`, undefined, as("zeta"))).status).toBe(
          404,
        );
      expect((await guarded.send(`/v1/webhooks/${json.id}/test`, {}, as("zeta"))).status).toBe(404);
      expect((await guarded.fetch(`/v1/webhooks/${json.id}`, init)).status).toBe(404);
      const more = await Promise.all(Array.from({ length: 12 }, () => post("https://example.com/")));
      expect(more.filter(({ status }) => status === 200)).toHaveLength(9);
      expect(more.find(({ status }) => status !== 200)).toMatchObject({ status: 400 });
      expect((await guarded.fetch(`/v1/webhooks/${json.id}`, { ...init, headers: as("acme") })).status).toBe(
        200,
      );
      expect((await post("https://example.com/")).status).toBe(200);
    });
  });
});
