import { describe, expect, test } from "vitest";
import { EventQueue } from "./event-queue.ts";

async function all<T>(queue: EventQueue<T>): Promise<readonly T[]> {
  const events: T[] = [];
  for await (const event of queue) events.push(event);
  return events;
}

describe("a consumer gets every event in order when it starts", () => {
  test("before the events", async () => {
    const queue = new EventQueue<number>();
    const read = all(queue);
    for (let i = 0; i < 5; i++) {
      queue.push(2 * i, 2 * i + 1);
      if (i % 2 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    queue.close();
    expect(await read).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  test("after the last one", async () => {
    const queue = new EventQueue<number>();
    queue.push(1, 2);
    queue.close();
    expect(await all(queue)).toEqual([1, 2]);
  });

  test("between them", async () => {
    const queue = new EventQueue<number>();
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
  const queue = new EventQueue<number>();
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
  const ended = new EventQueue<number>();
  ended.close();
  ended.close(failure);
  expect(await all(ended)).toEqual([]);
});
