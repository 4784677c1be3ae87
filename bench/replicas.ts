// Two servers behind nginx: what they share when requests go to either, and when they go by adapter and conversation.
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { limitConcurrency } from "mixture-of-shards-core/common";
import { loadBase } from "mixture-of-shards-core/models";
import { markdownTable } from "../packages/lab/src/evaluation/results.ts";
import { freePort } from "../packages/service/test/cluster.ts";
import { makeAdapters } from "./adapter-folders.ts";
import { fail, median, readArguments, rounded } from "./arguments.ts";
import { ChildServer } from "./load/child-server.ts";

const HELP = `usage: bench:replicas -- --model DIR|FILE.gguf [--adapters 24] [--conversations 24] [--turns 4] [--at-once 8]

Two mos serve, each with one thread and room for half of the adapters, behind nginx (which must be installed) with
deploy/nginx-servers.conf, and with the same without its line "hash". Conversations go on turn by turn, several at once.
Then one server is killed in the middle, and a request that fails by it is sent again.
Needs npm run build.`;

const given = readArguments(HELP, {
  values: ["model", "adapters", "conversations", "turns", "at-once"],
  flags: [],
});
const model = given.text("model") ?? fail(HELP);
const counts = {
  adapters: given.number("adapters", 24),
  conversations: given.number("conversations", 24),
  turns: given.number("turns", 4),
  atOnce: given.number("at-once", 8),
};

const folder = await mkdtemp(join(tmpdir(), "mos-replicas-"));
const base = await loadBase(model);
const names = await makeAdapters(join(folder, "adapters"), base, { count: counts.adapters, scale: 0.02 });
const servers: ChildServer[] = [];

async function startServers(): Promise<void> {
  const options = ["--model", model, "--adapters", join(folder, "adapters"), "--no-keys", "--quiet"];
  for (const i of [0, 1]) {
    const limits = ["--threads", "1", "--adapter-memory", await halfOfAdapters(), "--max-length", "1024"];
    servers[i] = new ChildServer({ options: [...options, ...limits], log: join(folder, `${i}.log`) });
    await servers[i].start();
  }
}

/** Bytes of memory that half of the adapters take: those of their files, in bfloat16. */
async function halfOfAdapters(): Promise<string> {
  const sizes = await Promise.all(
    names.map(
      async (name) => (await readFile(join(folder, "adapters", name, "adapter_model.safetensors"))).length,
    ),
  );
  return String(Math.ceil(sizes.reduce((sum, size) => sum + size, 0) / 4));
}

/** nginx with the file of deploy/, on other ports. */
async function startNginx(withHash: boolean) {
  const port = await freePort();
  const [first, second] = servers.map(({ address }) => new URL(address).host);
  const text = (await readFile("deploy/nginx-servers.conf", "utf8"))
    .replace("127.0.0.1:8080", first ?? "")
    .replace("127.0.0.1:8081", second ?? "")
    .replace("listen 8000", `listen 127.0.0.1:${port}`)
    .replace(/^ *hash .*$/m, withHash ? "$&" : "");
  await writeFile(join(folder, "servers.conf"), text);
  const main = `daemon off; pid ${folder}/pid; events {} http { access_log off; client_body_temp_path ${folder}/body; include ${folder}/servers.conf; }`;
  await writeFile(join(folder, "nginx.conf"), main);
  const child = spawn("nginx", ["-e", "stderr", "-c", join(folder, "nginx.conf")], { stdio: "inherit" });
  await sleep(1000);
  return { url: `http://127.0.0.1:${port}`, stop: () => child.kill("SIGTERM") };
}

/** The sum of a counter of both servers. */
async function counter(name: string): Promise<number> {
  const texts = await Promise.all(
    servers.map(async ({ address }) => (await fetch(`${address}/metrics`)).text()),
  );
  return texts.reduce(
    (sum, text) => sum + Number(new RegExp(`^${name} (\\d+)`, "m").exec(text)?.[1] ?? 0),
    0,
  );
}

interface Completion {
  readonly choices: readonly { readonly message: { readonly content: string } }[];
  readonly usage: {
    readonly prompt_tokens: number;
    readonly prompt_tokens_details: { readonly cached_tokens: number };
  };
}

/** All conversations, and what was computed for them. `atHalf` is called when half of the requests were sent. */
async function converse(url: string, atHalf?: () => Promise<void>) {
  let [prompt, cached, sent, failed] = [0, 0, 0, 0];
  const seconds: number[] = [];
  const talk = async (i: number): Promise<void> => {
    const messages = [{ role: "user", content: `Conversation ${i}: tell me about harbour ${i % 7}.` }];
    for (let turn = 0; turn < counts.turns; turn++) {
      const started = performance.now();
      const body = { model: names[i % names.length], messages, max_tokens: 24, temperature: 0 };
      const ask = () =>
        fetch(`${url}/v1/chat/completions`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(body),
        });
      if (++sent === Math.ceil((counts.conversations * counts.turns) / 2)) await atHalf?.();
      let response = await ask();
      if (response.status === 502 && atHalf !== undefined) {
        failed++;
        response = await ask(); // as clients do
      }
      if (!response.ok) fail(`${response.status}: ${await response.text()}`);
      const { choices, usage } = (await response.json()) as Completion;
      seconds.push((performance.now() - started) / 1000);
      prompt += usage.prompt_tokens;
      cached += usage.prompt_tokens_details.cached_tokens;
      const content = choices[0]?.message.content ?? "";
      messages.push(
        { role: "assistant", content },
        { role: "user", content: `And what else, for the ${turn}th time?` },
      );
    }
  };
  const limited = limitConcurrency(counts.atOnce);
  const started = performance.now();
  await Promise.all(Array.from({ length: counts.conversations }, (_, i) => limited(() => talk(i))));
  const total = (performance.now() - started) / 1000;
  return { prompt, cached, failed, seconds: total, request: median(seconds), perSecond: sent / total };
}

const rows: (readonly string[])[] = [];
try {
  for (const [name, withHash, isOneKilled] of [
    ["in turn", false, false],
    ["by adapter and conversation", true, false],
    ["the same, and one server is killed", true, true],
  ] as const) {
    await startServers();
    const nginx = await startNginx(withHash);
    const killed = isOneKilled ? servers[1] : undefined;
    const { prompt, cached, failed, seconds, request, perSecond } = await converse(
      nginx.url,
      killed && (() => killed.kill()),
    );
    const share = `${rounded((100 * cached) / prompt, 1)} %`;
    const loads = isOneKilled ? "" : `${await counter("mos_adapter_loads_total")}`;
    const times = [request, perSecond].map((one) => `${rounded(one, 2)}`);
    rows.push([name, share, `${prompt - cached}`, loads, ...times, `${rounded(seconds, 1)}`, `${failed}`]);
    nginx.stop();
    for (const server of servers) if (server !== killed) await server.stop();
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
const head = [
  "requests go",
  "prompt tokens from the cache",
  "computed",
  "adapter loads",
  "s a request",
  "requests a second",
  "s in all",
  "failed",
];
console.log(markdownTable([head, ...rows]));
process.exit(0);
