// An adapter method, a family of models, a route of either server and a setting are one file and one row each. They are
// added to a copy of the sources, which compiles and has them all; the files that differ from the originals are counted.
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";

const runFile = promisify(execFile);
const isSource = (path: string): boolean => !/(^|\/)(dist|node_modules|test)(\/|$)|\.test\.ts$/.test(path);

let copy = "";
beforeAll(async () => {
  copy = await mkdtemp(join(tmpdir(), "mos-one-of-each-"));
  await cp("packages", join(copy, "packages"), { recursive: true, filter: (path) => isSource(path) });
  await cp("package.json", join(copy, "package.json"));
  await cp("tsconfig.json", join(copy, "tsconfig.json"));
  await symlink(resolve("assets"), join(copy, "assets"));
  await mkdir(join(copy, "node_modules"));
  for (const name of await readdir("node_modules")) {
    const [, own] = /^mixture-of-shards-?(.*)$/.exec(name) ?? [];
    const target = own === undefined ? resolve("node_modules", name) : join(copy, "packages", own || "mos");
    await symlink(target, join(copy, "node_modules", name));
  }
});
afterAll(() => rm(copy, { recursive: true, force: true }));

/** Writes a new file into the copy. */
const add = (path: string, content: string) => writeFile(join(copy, path), content);
/** A file of the copy with other names in it. */
async function renamed(path: string, names: Readonly<Record<string, string>>): Promise<string> {
  let text = await readFile(join(copy, path), "utf8");
  for (const [from, to] of Object.entries(names)) {
    expect(text, path).toContain(from);
    text = text.replaceAll(from, to);
  }
  return text;
}
/** Puts text behind other text of a file, and an import before all. */
async function addRow(
  path: string,
  row: readonly [after: string, text: string],
  imported = "",
): Promise<void> {
  const text = await readFile(join(copy, path), "utf8");
  expect(text, path).toContain(row[0]);
  await writeFile(join(copy, path), imported + text.replace(row[0], row[0] + row[1]));
}

/** The sources that are not as they are in the repository. */
async function changedFiles(): Promise<readonly string[]> {
  const changed: string[] = [];
  for (const entry of await readdir(join(copy, "packages"), { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name).slice(copy.length + 1);
    if (!entry.isFile()) continue;
    const before = await readFile(path).catch(() => undefined);
    if (before?.equals(await readFile(join(copy, path))) !== true) changed.push(path);
  }
  return changed.sort();
}

const routeFile = (kind: string, path: string, imports: string): string => `${imports}
const route = createRoute({
  method: "get",
  path: "${path}",
  summary: "Added",
  responses: { 200: ok(z.object({ status: z.literal("added") }), "Added.") },
});
export function addedRoutes(app: ${kind}): void {
  app.openapi(route, (context) => context.json({ status: "added" as const }, 200));
}
`;

const ADDITIONS: readonly (readonly [string, files: readonly string[], add: () => Promise<void>])[] = [
  [
    "a method",
    ["packages/core/src/adapters/added.ts", "packages/core/src/adapters/adapter.ts"],
    async () => {
      const names = {
        LoraConfig: "AddedConfig",
        "const lora =": "const added =",
        '"lora"': '"added"',
        '"LORA"': '"ADDED"',
        "isKnownToPeft: true": "isKnownToPeft: false",
      };
      await add(
        "packages/core/src/adapters/added.ts",
        await renamed("packages/core/src/adapters/lora.ts", names),
      );
      const imported = 'import { type AddedConfig, added } from "./added.ts";\n';
      await addRow(
        "packages/core/src/adapters/adapter.ts",
        ["export type AdapterConfig =", "\n  | AddedConfig"],
        imported,
      );
      await addRow("packages/core/src/adapters/adapter.ts", ["export const methods = {", "\n  added,"]);
    },
  ],
  [
    "a family",
    ["packages/core/src/models/families/added.ts", "packages/core/src/models/families/index.ts"],
    async () => {
      const names = { "const llama:": "const added:", LlamaForCausalLM: "AddedForCausalLM" };
      await add(
        "packages/core/src/models/families/added.ts",
        await renamed("packages/core/src/models/families/llama.ts", names),
      );
      const imported = 'import { added } from "./added.ts";\n';
      await addRow(
        "packages/core/src/models/families/index.ts",
        ["export const FAMILIES = {", "\n  added,"],
        imported,
      );
    },
  ],
  [
    "a route of the server",
    ["packages/server/src/app.ts", "packages/server/src/routes/added.ts"],
    async () => {
      const imports = `import { createRoute, z } from "@hono/zod-openapi";
import type { ServerApp } from "../context.ts";
import { ok } from "../request.ts";`;
      await add("packages/server/src/routes/added.ts", routeFile("ServerApp", "/v1/added", imports));
      const row = ["ROUTES: readonly ((app: ServerApp) => void)[] = [", "\n  addedRoutes,"] as const;
      await addRow("packages/server/src/app.ts", row, 'import { addedRoutes } from "./routes/added.ts";\n');
    },
  ],
  [
    "a route of the service",
    ["packages/service/src/api/added.ts", "packages/service/src/api/index.ts"],
    async () => {
      const imports = `import { createRoute, z } from "@hono/zod-openapi";
import { ok, type ServerApp } from "mixture-of-shards/server";`;
      await add("packages/service/src/api/added.ts", routeFile("ServerApp", "/v1/service-added", imports));
      const row = ["const ROUTES: readonly AddRoutes[] = [", "\n  addedRoutes,"] as const;
      await addRow("packages/service/src/api/index.ts", row, 'import { addedRoutes } from "./added.ts";\n');
    },
  ],
  [
    "a setting",
    ["packages/core/src/training/settings.ts"],
    () =>
      addRow("packages/core/src/training/settings.ts", [
        "export const trainingSettings = {",
        '\n  addedSetting: setting(z.int().min(1), { default: 7, help: "added" }),',
      ]),
  ],
];

test.each(ADDITIONS)("%s changes %j", async (_, files, change) => {
  const before = await changedFiles();
  await change();
  const after = await changedFiles();
  expect(after.filter((path) => !before.includes(path))).toEqual(files);
});

/** Prints what the copy has. */
const LOOK = `
import { METHOD_NAMES } from "mixture-of-shards-core/adapters";
import { trainingSettings } from "./packages/core/src/training/settings.ts";
import { FAMILY_NAMES } from "./packages/core/src/models/families/index.ts";
import { openApp } from "mixture-of-shards";
import { addServiceRoutes } from "./packages/service/src/api/index.ts";

const extension = {
  routes: (app) => addServiceRoutes(app, {}),
};
const app = await openApp({ model: "assets/tiny-english", threads: 1, extension: async () => extension });
const answers = await Promise.all(
  ["/v1/added", "/openapi.json"].map(async (path) => (await app.fetch(new Request("http://localhost" + path))).text()),
);
await app[Symbol.asyncDispose]();
console.log(JSON.stringify({ methods: METHOD_NAMES, families: FAMILY_NAMES, settings: Object.keys(trainingSettings), answers }));
`;

test("the copy compiles, and has all of them", async () => {
  await add(
    "tsconfig.copy.json",
    JSON.stringify({ extends: "./tsconfig.json", include: ["packages/*/src"] }),
  );
  await runFile(resolve("node_modules/.bin/tsc"), ["-p", "tsconfig.copy.json"], { cwd: copy }).catch(
    (error) => {
      throw new Error(error.stdout);
    },
  );
  await add("look.mts", LOOK);
  const source = ["--conditions=source", "--import", "tsx"];
  const node = async (...args: readonly string[]): Promise<string> =>
    (await runFile(process.execPath, [...source, ...args], { cwd: copy })).stdout;
  const { methods, families, settings, answers } = JSON.parse(await node("look.mts"));
  expect([methods, families, settings]).toEqual([
    expect.arrayContaining(["added"]),
    expect.arrayContaining(["added"]),
    expect.arrayContaining(["addedSetting"]),
  ]);
  expect(JSON.parse(answers[0])).toEqual({ status: "added" });
  const { paths } = JSON.parse(answers[1]);
  expect(Object.keys(paths)).toEqual(expect.arrayContaining(["/v1/added", "/v1/service-added"]));
  const help = await node("packages/mos/src/cli/main.ts", "train", "--help");
  expect(help).toMatch(/--added-setting <n> +added \(default: 7\)/);
  expect(help).toMatch(/--method[\s\S]*"added"/);
  expect(
    await node("packages/mos/src/cli/main.ts", "params", "--preset", "llama2-7b", "--method", "added"),
  ).not.toBe("");
});
