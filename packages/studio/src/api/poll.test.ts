import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { backOff, connection, lost } from "./connection.ts";
import { poll } from "./poll.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  connection.value = "up";
});

const settle = (ms = 0) => vi.advanceTimersByTimeAsync(ms);

describe("a value that is read again and again", () => {
  test("is read some time after each answer, and never twice at once", async () => {
    let count = 0;
    let running = 0;
    const read = async () => {
      expect(++running).toBe(1);
      await new Promise((resolve) => setTimeout(resolve, 300));
      running--;
      return ++count;
    };
    const found = poll(read, { every: 1000 });
    expect(found.data.value).toBeUndefined();
    await settle(300);
    expect(found.data.value).toBe(1);
    await settle(1299);
    expect(found.data.value).toBe(1);
    await settle(1);
    expect(found.data.value).toBe(2);
    // a refresh in the middle of an answer reads once more: that answer may be older than the change
    await settle(1100);
    const refreshed = found.refresh();
    await settle(500);
    await refreshed;
    expect(found.data.value).toBe(4);
    found.stop();
    await settle(10_000);
    expect(count).toBe(4);
  });

  test("stays while reading fails, which happens ever less often", async () => {
    const at: number[] = [];
    let fails = false;
    const read = async () => {
      at.push(Date.now());
      if (fails) throw new Error("no");
      return "value";
    };
    const start = Date.now();
    const found = poll(read, { every: 1000 });
    await settle();
    fails = true;
    await settle(8999);
    expect(at.map((time) => time - start)).toEqual([0, 1000, 2000, 3000, 5000]);
    expect(found.data.value).toBe("value");
    expect(found.error.value).toMatchObject({ message: "no" });
    fails = false;
    await settle(1);
    expect(found.error.value).toBeUndefined();
    expect(at.length).toBe(6);
    await settle(1000);
    expect(at.length).toBe(7);
    found.stop();
  });

  test("waits while the server is away, and is read as soon as it is back", async () => {
    let count = 0;
    const found = poll(async () => ++count, { every: 1000 });
    await settle();
    const fetched = vi.spyOn(globalThis, "fetch").mockRejectedValue(new TypeError("failed to fetch"));
    lost();
    await settle(20_000);
    expect(count).toBe(1);
    expect(fetched.mock.calls.length).toBe(5); // after 0.5, 1.5, 3.5, 7.5 and 15.5 s
    fetched.mockResolvedValue(new Response());
    await settle(10_000);
    expect(connection.value).toBe("up");
    expect(count).toBeGreaterThan(1);
    found.stop();
  });

  test("is read once for 0, and again if that failed", async () => {
    let count = 0;
    const read = async () => {
      if (++count === 1) throw new Error("no");
      return count;
    };
    const found = poll(read, { every: 0 });
    await settle(backOff(1));
    expect(found.data.value).toBe(2);
    await settle(60_000);
    expect(count).toBe(2);
    found.stop();
  });

  test("an abort from outside stops it, and the request that runs", async () => {
    const outer = new AbortController();
    let inner: AbortSignal | undefined;
    const found = poll(
      (signal) => {
        inner = signal;
        return new Promise<number>(() => {});
      },
      { every: 10, signal: outer.signal },
    );
    outer.abort();
    expect(inner?.aborted).toBe(true);
    found.stop();
  });
});
