import { expect, test, vi } from "vitest";
import { fetchTextFile } from "./pull.ts";

const file = { url: "https://example.org/a/b.txt", repository: "org/name", path: "b.txt" };
const sleep = async (): Promise<void> => undefined;
const answers = (...bodies: (Response | Error)[]) =>
  vi.fn<typeof fetch>(async () => {
    const next = bodies.shift();
    if (next instanceof Response) return next;
    throw next ?? new Error("asked too often");
  });
const failure = (code: string, message: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) });

test("fetches a text, and retries after a server error", async () => {
  const fetch = answers(new Response("busy", { status: 503 }), new Error("cut"), new Response("text é"));
  expect(await fetchTextFile(file, { fetch, sleep })).toBe("text é");
  expect(fetch.mock.calls.map(([url]) => url)).toEqual(Array(3).fill(file.url));
});

test("names the file that is missing or broken, or whose download was cancelled", async () => {
  await expect(
    fetchTextFile(file, { fetch: answers(new Response("", { status: 404 })), sleep }),
  ).rejects.toThrow(failure("not_found", /org\/name has no file b\.txt/));
  const latin = new Response(new Uint8Array([0xe9]));
  await expect(fetchTextFile(file, { fetch: answers(latin), sleep })).rejects.toThrow(
    failure("bad_data", /b\.txt: the text is not valid UTF-8/),
  );
  await expect(fetchTextFile({ ...file, url: "b.txt" })).rejects.toThrow(
    failure("bad_option", /is not a URL/),
  );
  const signal = AbortSignal.abort();
  await expect(fetchTextFile(file, { fetch: answers(new Error("aborted")), sleep, signal })).rejects.toThrow(
    failure("cancelled", /b\.txt/),
  );
});
