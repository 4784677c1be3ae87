// A server of S3's protocol that tests run on: moto's, where Python has it (pip install 'moto[server]').
import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "./cluster.ts";
import { endProcess } from "./serving.ts";

/** Its program; MOS_MOTO_SERVER names another than that of the path. */
const PROGRAM = process.env["MOS_MOTO_SERVER"] ?? "moto_server";

/** What AWS's client reads. */
export const AWS = {
  AWS_ACCESS_KEY_ID: "test",
  AWS_SECRET_ACCESS_KEY: "test",
  AWS_REGION: "us-east-1",
};

export interface BucketServer extends AsyncDisposable {
  readonly endpoint: string;
  /** Makes a bucket, and returns its URL. */
  make(): Promise<string>;
}

/** Whether the program is there; it says where it is not. */
export const hasMoto: boolean = await new Promise<boolean>((resolve) => {
  const child = spawn(PROGRAM, ["--help"], { stdio: "ignore" });
  child.once("error", () => resolve(false)).once("exit", (code) => resolve(code === 0));
});
if (!hasMoto) process.stderr.write(`skipped: S3, as there is no ${PROGRAM} (pip install 'moto[server]')\n`);

/** Starts a server on a port of its own. */
export async function startBuckets(): Promise<BucketServer> {
  const port = await freePort();
  const child: ChildProcess = spawn(PROGRAM, ["-H", "127.0.0.1", "-p", String(port)], { stdio: "ignore" });
  const endpoint = `http://127.0.0.1:${port}`;
  while (
    !(await fetch(endpoint).then(
      () => true,
      () => false,
    ))
  )
    await sleep(100);
  return {
    endpoint,
    make: async () => {
      const name = `mos-${randomUUID()}`;
      const response = await fetch(`${endpoint}/${name}`, { method: "PUT" });
      if (!response.ok) throw new Error(await response.text());
      return `s3://${name}/some/prefix`;
    },
    [Symbol.asyncDispose]: () => endProcess(child),
  };
}

/** What befalls a request: no connection, one that breaks or falls silent after some bytes of the answer, or a refusal. */
type Fault =
  | "refused"
  | "slow down"
  | "denied"
  | { readonly type: "reset" | "silence"; readonly after: number };

/** A way to a server on which requests go wrong. */
export interface FaultyWay extends AsyncDisposable {
  readonly endpoint: string;
  /** Requests that have arrived, as "GET /bucket/key?query". */
  readonly requests: string[];
  /** Decides for each request what goes wrong. */
  choose: (request: string, headers: IncomingMessage["headers"]) => Fault | undefined;
}

export async function startFaultyWay(endpoint: string): Promise<FaultyWay> {
  const server = createServer((incoming, answer) => {
    const asked = `${incoming.method} ${incoming.url}`;
    way.requests.push(asked);
    const fault = way.choose(asked, incoming.headers);
    if (fault === "refused") incoming.socket.resetAndDestroy();
    else if (fault === "slow down" || fault === "denied") {
      const [status, code] = fault === "denied" ? [403, "AccessDenied"] : [503, "SlowDown"];
      incoming.resume().once("end", () => {
        answer.writeHead(status, { "content-type": "application/xml" });
        answer.end(`<Error><Code>${code}</Code><Message>${fault}</Message></Error>`);
      });
    } else forward(incoming, answer, fault);
  });
  const forward = (
    incoming: IncomingMessage,
    answer: ServerResponse,
    fault: Exclude<Fault, string> | undefined,
  ) => {
    const url = new URL(incoming.url ?? "/", endpoint);
    const upstream = request(url, { method: incoming.method, headers: incoming.headers }, (response) => {
      // the request was done, and nobody hears of it
      if (fault?.type === "reset" && fault.after === 0) return void incoming.socket.resetAndDestroy();
      answer.writeHead(response.statusCode ?? 500, response.headers);
      let passed = 0;
      response.on("data", (bytes: Buffer) => {
        passed += bytes.length;
        if (fault === undefined || passed <= fault.after) answer.write(bytes);
        else if (fault.type === "reset") incoming.socket.resetAndDestroy();
      });
      response.once("end", () => {
        if (fault === undefined || passed <= fault.after) answer.end();
      });
    });
    upstream.on("error", () => incoming.socket.resetAndDestroy());
    incoming.on("error", () => upstream.destroy()).pipe(upstream);
  };
  await once(server.listen(0, "127.0.0.1"), "listening");
  const way: FaultyWay = {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: [],
    choose: () => undefined,
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
    },
  };
  return way;
}
