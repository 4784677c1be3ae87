// What a hub, or a name, can do to `mos pull`. The hub is a server of this test, or none at all.

import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import timers from "node:timers/promises";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { replaceBuiltin } from "../../../../test/replace-builtin.ts";
import { expectRefusal, mos, snapshot } from "./run-mos.ts";

/** Retries wait for a moment only. */
replaceBuiltin(
  timers,
  "setTimeout",
  (sleep) => ((_, value, options) => sleep(1, value, options)) as typeof sleep,
);

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-bad-pull-"));
});
afterEach(() => vi.unstubAllEnvs());
afterAll(() => rm(folder, { recursive: true, force: true }));

/** The environment of a user of the hub at this address, who is not logged in. */
function setUser(endpoint: string): void {
  vi.stubEnv("HF_ENDPOINT", endpoint);
  vi.stubEnv("HF_HOME", folder);
  for (const name of [
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "HF_HUB_OFFLINE",
  ])
    vi.stubEnv(name, undefined);
}

async function withHub(answer: RequestListener, action: () => Promise<void>): Promise<void> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    setUser(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    await action();
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

const NAME = /is not the name of a Hub repository; write org\/name/;
test.each<[string, RegExp]>([
  ["smollm2", NAME],
  ["../../etc/passwd", NAME],
  ["org/..", NAME],
  ["org/name/more", NAME],
  ["/absolute/path", NAME],
  ["https://example.com/org/name", NAME],
  ["org/na me", NAME],
  ["org/name.git", NAME],
  ["org/name@../../main", /cannot be a revision; use a branch/],
  ["org/name:../../file.gguf", /cannot be the name of a file in a repository/],
  ["org/name:/etc/passwd", /cannot be the name of a file in a repository/],
])("mos pull %s", async (name, message) => {
  setUser("http://127.0.0.1:9");
  await expectRefusal(["pull", name], { code: 2, message, untouched: folder });
});

test("without a name, and with two", async () => {
  await expectRefusal(["pull"], { code: 2, message: /missing required argument 'model'/, untouched: folder });
  await expectRefusal(["pull", "org/name", "org/other"], {
    code: 2,
    message: /too many arguments/,
    untouched: folder,
  });
});

test("a token that cannot be sent", async () => {
  setUser("http://127.0.0.1:9");
  vi.stubEnv("HF_TOKEN", "hf_a b");
  await expectRefusal(["pull", "org/name"], {
    code: 2,
    message: /the Hub token contains a space/,
    untouched: folder,
  });
});

test("a hub that answers 404, 401, 500 without end, or nonsense", async () => {
  const status =
    (code: number, headers: Record<string, string> = {}): RequestListener =>
    (_, response) => {
      response.writeHead(code, headers).end("{}");
    };
  const cases: readonly (readonly [RequestListener, RegExp])[] = [
    [status(404), /there is no model org\/name at http.*; check the spelling/],
    [status(404, { "x-error-code": "RevisionNotFound" }), /org\/name has no revision main/],
    [status(401), /org\/name does not exist, or is private or gated/],
    [status(403, { "x-error-code": "GatedRepo" }), /org\/name is gated; accept the licence at/],
    [(_, response) => response.end("<html>not json</html>"), /org\/name|127\.0\.0\.1/],
    [(_, response) => response.end('{"sha": 5, "siblings": "many"}'), /org\/name|127\.0\.0\.1/],
    [status(302, { location: "file:///etc/passwd" }), /redirects to an address that is not safe/],
  ];
  for (const [answer, message] of cases)
    await withHub(answer, async () => {
      await expectRefusal(["pull", "org/name"], { code: 1, message, untouched: folder });
    });
});

test("a hub whose list leads out of the folder", async () => {
  const commit = "0".repeat(40);
  const entries = [
    { type: "file", path: "config.json", size: 2, oid: "0".repeat(40) },
    { type: "file", path: "../../escaped.safetensors", size: 2, oid: "0".repeat(40) },
  ];
  await withHub(
    ({ url = "" }, response) => {
      response.setHeader("content-type", "application/json");
      response.end(
        JSON.stringify(
          url.includes("/tree/") ? entries : { id: "org/name", sha: commit, siblings: [], tags: [] },
        ),
      );
    },
    async () => {
      const ended = await mos(["pull", "org/name", "--quiet"]);
      expect(ended).toMatchObject({ code: 1, stdout: "" });
      expect(ended.stderr.split("\n").filter((line) => line.startsWith("mos: "))).toHaveLength(1);
      expect(Object.keys(await snapshot(folder)).join()).not.toContain("escaped");
    },
  );
});

test("no hub, by the other commands too", async () => {
  await withHub(
    () => undefined,
    async () => undefined,
  ); // its port is free now
  const message = /^mos: http:\/\/127\.0\.0\.1:\d+ cannot be reached \(ECONNREFUSED\): check the connection/;
  await expectRefusal(["pull", "org/name", "--quiet"], { code: 1, message, untouched: folder });
  vi.stubEnv("HF_HUB_OFFLINE", "1");
  const offline = /org\/name is not in the cache .*, and network access is disabled/;
  await expectRefusal(["generate", "--model", "org/name", "--prompt", "Hi"], {
    code: 1,
    message: offline,
    untouched: folder,
  });
});
