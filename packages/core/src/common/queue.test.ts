import { describe, expect, test } from "vitest";
import { AsyncQueue } from "./queue.ts";

async function all<T>(queue: AsyncQueue<T>): Promise<readonly T[]> {
  const events: T[] = [];
  for await (const event of queue) events.push(event);
  return events;
}

describe("a consumer gets every event in order when it starts", () => {
  test("before the events", async () => {
    const queue = new AsyncQueue<number>();
    const read = all(queue);
    for (let i = 0; i < 5; i++) {
      queue.push(2 * i, 2 * i + 1);
      if (i % 2 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    queue.close();
    expect(await read).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  test("after the last one", async () => {
    const queue = new AsyncQueue<number>();
    queue.push(1, 2);
    queue.close();
    expect(await all(queue)).toEqual([1, 2]);
  });

  test("between them", async () => {
    const queue = new AsyncQueue<number>();
    const events: number[] = [];
    queue.push(1, 2);
    for await (const event of queue) {
      events.push(event);
      if (event === 1) queue.push(3);
      if (event === 3) {
        queue.push(4);
        queue.close();
      }
    }
    expect(events).toEqual([1, 2, 3, 4]);
  });
});

test("a failure is thrown after the events before it, and only the first end counts", async () => {
  const queue = new AsyncQueue<number>();
  const read = (async () => {
    const events: number[] = [];
    try {
      for await (const event of queue) events.push(event);
    } catch (error) {
      return { events, error };
    }
    return { events, error: undefined };
  })();
  await new Promise((resolve) => setImmediate(resolve));
  queue.push(1);
  const failure = new Error("broken");
  queue.close(failure);
  queue.close(new Error("too late"));
  expect(await read).toEqual({ events: [1], error: failure });
  const ended = new AsyncQueue<number>();
  ended.close();
  ended.close(failure);
  expect(await all(ended)).toEqual([]);
});

test("ready waits for an item, and throws what the queue failed with before anybody reads", async () => {
  const queue = new AsyncQueue<number>();
  const ready = queue.ready();
  queue.push(1);
  await ready;
  expect(await queue.next()).toEqual({ done: false, value: 1 });
  const failure = new Error("broken");
  queue.push(2);
  queue.close(failure);
  await expect(queue.ready()).rejects.toBe(failure);
  expect(await queue.next()).toEqual({ done: false, value: 2 });
  await expect(queue.next()).rejects.toBe(failure);
});

test("a reader that leaves is reported, and what comes after it is dropped", async () => {
  let left = 0;
  const queue = new AsyncQueue<number>(() => left++);
  queue.push(1, 2);
  for await (const _ of queue) break;
  expect(left).toBe(1);
  queue.push(3);
  expect(await all(queue)).toEqual([]);
});
