import { describe, expect, test } from "vitest";
import { EventStream } from "./event-stream.ts";

async function all<T>(stream: EventStream<T>): Promise<readonly T[]> {
  const events: T[] = [];
  for await (const event of stream.read()) events.push(event);
  return events;
}

describe("a reader gets every event in order, whether it comes", () => {
  test("before the events", async () => {
    const stream = new EventStream<number>();
    const read = all(stream);
    for (let i = 0; i < 5; i++) {
      stream.push(2 * i, 2 * i + 1);
      if (i % 2 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    stream.close();
    expect(await read).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  test("behind the last one", async () => {
    const stream = new EventStream<number>();
    stream.push(1, 2);
    stream.close();
    expect(await all(stream)).toEqual([1, 2]);
  });

  test("while it takes its time", async () => {
    const stream = new EventStream<number>();
    const events: number[] = [];
    stream.push(1, 2);
    for await (const event of stream.read()) {
      events.push(event);
      if (event === 1) stream.push(3);
      if (event === 3) {
        stream.push(4);
        stream.close();
      }
    }
    expect(events).toEqual([1, 2, 3, 4]);
  });
});

test("a failure is thrown behind the events before it, and only the first end counts", async () => {
  const stream = new EventStream<number>();
  const read = (async () => {
    const events: number[] = [];
    try {
      for await (const event of stream.read()) events.push(event);
    } catch (error) {
      return { events, error };
    }
    return { events, error: undefined };
  })();
  await new Promise((resolve) => setImmediate(resolve));
  stream.push(1);
  const failure = new Error("broken");
  stream.close(failure);
  stream.close(new Error("too late"));
  expect(await read).toEqual({ events: [1], error: failure });
  const ended = new EventStream<number>();
  ended.close();
  ended.close(failure);
  expect(await all(ended)).toEqual([]);
});
