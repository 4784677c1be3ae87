// What npm would publish of the packages: only what belongs there, within a budget, so that growth is noticed when it comes, and
// without a finding of publint's.
// usage: npm run package (after npm run build)
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { publint } from "publint";
import { formatMessage } from "publint/utils";

interface Budget {
  readonly packedBytes: number;
  readonly files: number;
  /** Files besides those of every package. */
  readonly allowed: RegExp;
}

/** Raise a limit in the commit that needs it, and say there why. */
const BUDGETS: Readonly<Record<string, Budget>> = {
  mos: { packedBytes: 2_700_000, files: 160, allowed: /^assets\// },
  server: { packedBytes: 550_000, files: 250, allowed: /^$/ },
  core: { packedBytes: 1_900_000, files: 1000, allowed: /^$/ },
  sandbox: { packedBytes: 60_000, files: 50, allowed: /^$/ },
  graph: { packedBytes: 185_000, files: 130, allowed: /^preinstall\.mjs$/ },
  grammar: { packedBytes: 450_000, files: 360, allowed: /^$/ },
  lab: { packedBytes: 350_000, files: 180, allowed: /^$/ },
  service: { packedBytes: 400_000, files: 250, allowed: /^$/ },
};

const COMMON = /^(dist\/|package\.json$|README\.md$|LICENSE$)/;
/** Files without which a package is not published. */
const REQUIRED = ["package.json", "README.md", "LICENSE"];

interface Packed {
  readonly name: string;
  readonly filename: string;
  readonly size: number;
  readonly files: readonly { readonly path: string }[];
}

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(2)} MB`;

async function check(name: string, budget: Budget): Promise<readonly string[]> {
  const pkgDir = `packages/${name}`;
  const output = execFileSync("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], {
    cwd: pkgDir,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  const [packed] = JSON.parse(output) as [Packed];
  const tarball = Uint8Array.from(readFileSync(join(folder, packed.filename))).buffer;
  const { messages, pkg } = await publint({ pack: { tarball } }); // its folder is the tarball's own
  const paths = packed.files.map((file) => file.path);
  console.log(
    `${packed.name}: ${paths.length} of ${budget.files} files, ${megabytes(packed.size)} of ${megabytes(budget.packedBytes)}`,
  );
  const problems = [
    ...paths
      .filter((path) => !(COMMON.test(path) || budget.allowed.test(path)) || /\.test\./.test(path))
      .map((path) => `${path} does not belong into the package`),
    ...REQUIRED.filter((path) => !paths.includes(path)).map((path) => `${path} is missing`),
    ...(packed.size > budget.packedBytes
      ? [`${megabytes(packed.size)} packed is over the budget of ${megabytes(budget.packedBytes)}`]
      : []),
    ...(paths.length > budget.files ? [`${paths.length} files are over the budget of ${budget.files}`] : []),
    ...messages.map((message) => formatMessage(message, pkg, { color: false }) ?? message.code),
  ];
  return problems.map((problem) => `${packed.name}: ${problem}`);
}

const folder = mkdtempSync(join(tmpdir(), "mos-packed-"));
try {
  for (const [name, budget] of Object.entries(BUDGETS))
    for (const problem of await check(name, budget)) {
      console.error(problem);
      process.exitCode = 1;
    }
} finally {
  rmSync(folder, { recursive: true });
}
