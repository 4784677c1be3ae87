// What npm would publish: only what belongs there, and within a budget, so that growth is noticed when it comes.
// usage: npm run package (after npm run build)
import { execFileSync } from "node:child_process";

/** Raise a limit in the commit that needs it, and say there why. */
const BUDGET = { packedBytes: 3_750_000, files: 1050 };

const ALLOWED = /^(dist\/|assets\/|scripts\/no-cuda\/preinstall\.mjs$|package\.json$|README\.md$|LICENSE$)/;

interface Packed {
  readonly size: number;
  readonly files: readonly { readonly path: string }[];
}

const output = execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
  encoding: "utf8",
  stdio: ["ignore", "pipe", "ignore"],
});
const [packed] = JSON.parse(output) as [Packed];
const paths = packed.files.map((file) => file.path);
const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(2)} MB`;
const problems = [
  ...paths
    .filter((path) => !ALLOWED.test(path) || /\.test\./.test(path))
    .map((path) => `${path} does not belong into the package`),
  ...(packed.size > BUDGET.packedBytes
    ? [`${megabytes(packed.size)} packed is over the budget of ${megabytes(BUDGET.packedBytes)}`]
    : []),
  ...(paths.length > BUDGET.files ? [`${paths.length} files are over the budget of ${BUDGET.files}`] : []),
];
console.log(
  `the package: ${paths.length} of ${BUDGET.files} files, ${megabytes(packed.size)} of ${megabytes(BUDGET.packedBytes)}`,
);
for (const problem of problems) console.error(problem);
process.exitCode = problems.length === 0 ? 0 : 1;
