import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ADAPTER_FILES } from "mixture-of-shards-core/adapters";
import { afterAll, beforeAll, expect, test } from "vitest";
import { writeTinyFolder } from "./tiny-folder.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-learn-killed-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Runs a night, and kills it so long after its first event. Gives the types of its events. */
function night(at: string, model: string, killAfter?: number): Promise<readonly string[]> {
  const flags = ["--conditions=source", "--import", "tsx", "packages/core/test/learning-child.ts"];
  const running = spawn(process.execPath, [...flags, at, model], { stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  running.stdout.on("data", (chunk: Buffer) => {
    if (output === "" && killAfter !== undefined) setTimeout(() => running.kill("SIGKILL"), killAfter);
    output += chunk.toString();
  });
  return new Promise((resolve, reject) => {
    running.on("error", reject);
    running.on("close", () => resolve(output.trim().split("\n")));
  });
}

test("a night that is killed again and again ends with the bytes of one that is not, and one version is live", async () => {
  const { model } = await writeTinyFolder(folder);
  const lessons = ["red", "blue", "green", "black", "white", "grey"].map((colour) => ({
    messages: [
      { role: "user", content: `Is the ${colour} lamp on?` },
      { role: "assistant", content: "Yes" },
    ],
  }));
  const [whole, killed] = [join(folder, "whole"), join(folder, "killed")];
  for (const at of [whole, killed]) {
    await mkdir(at);
    await writeFile(join(at, "lessons.jsonl"), lessons.map((one) => `${JSON.stringify(one)}\n`).join(""));
  }
  expect((await night(whole, model)).at(-1)).toBe("finish");
  let kills = 0;
  // moments at random, so that repeated runs of this test meet different ones; later and later, so that it ends
  for (let last = "plan"; last !== "finish" && last !== "nothing"; kills++) {
    const events = await night(killed, model, Math.random() * 200 * (kills + 1));
    last = events.at(-1) ?? "";
    expect(kills).toBeLessThan(40);
  }
  expect(kills).toBeGreaterThan(1);
  for (const name of ADAPTER_FILES)
    expect(await readFile(join(killed, "adapter", name), "base64"), name).toBe(
      await readFile(join(whole, "adapter", name), "base64"),
    );
  const report = async (at: string) => {
    const { cost: _, ...found } = JSON.parse(await readFile(join(at, "report.json"), "utf8"));
    return JSON.parse(JSON.stringify(found).replaceAll(at, ""));
  };
  expect({ ...(await report(killed)), replaced: undefined }).toEqual(await report(whole));
  expect(await night(killed, model)).toEqual(["nothing"]);
});
