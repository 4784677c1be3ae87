// What another tenant sees of a server while it is attacked.
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Serving } from "./serving.ts";

/** Times are CPU of the thread that answers HTTP, in milliseconds: what other programs of the machine take does not count. */
export interface Seen<T> {
  readonly result: T;
  /** The longest between two tokens of a stream, or between its request and its first token. */
  readonly longestGap: number;
  /** The longest that `/health` took. */
  readonly slowestHealth: number;
  readonly tokens: number;
  readonly healthChecks: number;
}

/** Streams answers to `tenant` one after another, and asks for `/health`, as long as `attack` takes. */
export async function watchBystander<T>(
  serving: Serving,
  tenant: string,
  attack: () => Promise<T>,
): Promise<Seen<T>> {
  let isOver = false;
  const [tokens, healthChecks]: [number[], number[]] = [[], []];
  const cpu = (): Promise<number> => threadMilliseconds(serving.process.pid);

  async function stream(): Promise<void> {
    const client = serving.client(tenant);
    while (!isOver) {
      let last = await cpu();
      const answer = await client.chat.completions.create({
        model: "tiny",
        messages: [{ role: "user", content: "When do you open?" }],
        max_completion_tokens: 32,
        stream: true,
      });
      for await (const _ of answer) {
        const now = await cpu();
        tokens.push(now - last);
        last = now;
      }
    }
  }

  async function checkHealth(): Promise<void> {
    while (!isOver) {
      const before = await cpu();
      const response = await fetch(`${serving.address}/health`);
      await response.text();
      healthChecks.push((await cpu()) - before);
      await sleep(20);
    }
  }

  const watching = Promise.all([stream(), checkHealth()]);
  const attacked = attack().finally(() => {
    isOver = true;
  });
  const [result] = await Promise.all([attacked, watching]);
  return {
    result,
    longestGap: Math.max(...tokens),
    slowestHealth: Math.max(...healthChecks),
    tokens: tokens.length,
    healthChecks: healthChecks.length,
  };
}

/** CPU time of a process's main thread so far, which is where Node runs JavaScript. */
export async function threadMilliseconds(pid: number | undefined): Promise<number> {
  const [nanoseconds] = (await readFile(`/proc/${pid}/task/${pid}/schedstat`, "utf8")).split(" ");
  return Number(nanoseconds) / 1e6;
}
