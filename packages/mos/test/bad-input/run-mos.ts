// Runs the command line in this process, as packages/mos/src/cli/main.ts does in its own, and returns output and exit code.

import { createHash } from "node:crypto";
import { lstat, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { MosError } from "mixture-of-shards-core/common";
import { expect } from "vitest";
import { run } from "../../src/cli/program.ts";

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

type Write = typeof process.stdout.write;

/** Puts what is written to a stream into a list, until it is called off. */
function capture(stream: NodeJS.WriteStream, into: string[]): () => void {
  const before: Write = stream.write;
  const listeners = stream.listeners("error");
  stream.write = ((chunk: string | Uint8Array) => into.push(String(chunk)) > 0) as Write;
  return () => {
    stream.write = before;
    for (const added of stream.listeners("error"))
      if (!listeners.includes(added)) stream.off("error", added as () => void);
  };
}

/** `mos` with these arguments. */
export async function mos(args: readonly string[]): Promise<Ended> {
  const [stdout, stderr]: string[][] = [[], []];
  const restore = [capture(process.stdout, stdout!), capture(process.stderr, stderr!)];
  const exitCode = process.exitCode;
  process.exitCode = undefined;
  try {
    const code = await run(args);
    return { code, stdout: stdout!.join(""), stderr: stderr!.join("") };
  } finally {
    for (const back of restore) back();
    process.exitCode = exitCode;
  }
}

/** Every file below a path with its digest; a path that does not exist has none. */
export async function snapshot(path: string): Promise<Readonly<Record<string, string>>> {
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return {};
  if (found.isSymbolicLink()) return { [path]: "link" };
  if (!found.isDirectory()) return { [path]: await digestFile(path) };
  const files: Record<string, string> = { [path]: "folder" };
  for (const name of await readdir(path)) Object.assign(files, await snapshot(join(path, name)));
  return files;
}

async function digestFile(path: string): Promise<string> {
  const { size, mtimeMs } = await lstat(path);
  if (size > 1 << 26) return `${size} bytes of ${mtimeMs}`;
  return createHash("sha256")
    .update(await readFile(path))
    .digest("hex");
}

export const STACK = /^ {4}at /m;
/** Words that belong to programmers: of zod, of V8, of half-made texts. */
const JARGON =
  /undefined|\[object |NaN is not|expected .*, received|Too (big|small)|Invalid input|Cannot read prop|is not a function|unexpected:/;

interface Refusal {
  readonly code: 1 | 2;
  readonly message: RegExp;
}

/** Runs `mos`, and expects one message, its exit code, and that nothing below `untouched` changed. Gives the message. */
export async function expectRefusal(
  args: readonly string[],
  { code, message, untouched }: Refusal & { readonly untouched: string },
): Promise<string> {
  const before = await snapshot(untouched);
  const plain = await mos(args);
  const told = plain.stderr.split("\n").filter((line) => line.startsWith("mos: "));
  expect(told, plain.stderr).toHaveLength(1);
  expect(plain.stderr).toMatch(/^mos: /);
  expect(plain.stderr).toMatch(message);
  expect(plain.stderr).not.toMatch(STACK);
  expect(plain.stderr).not.toMatch(JARGON);
  expect(plain.code, plain.stderr).toBe(code);
  expect(plain.stdout).toBe("");
  expect(await snapshot(untouched)).toEqual(before);
  if (process.env["MOS_SHOW_MESSAGES"] !== undefined) process.stdout.write(plain.stderr);
  return plain.stderr;
}

/** Expects an error of ours that says so, in words for people. */
export async function expectError(work: () => Promise<unknown>, message: RegExp): Promise<void> {
  const error = await work().catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(MosError);
  const said = (error as MosError).message;
  expect(said).toMatch(message);
  expect(said).not.toMatch(JARGON);
}

/** The values that --json printed, one a line. */
export const jsonLines = (stdout: string) =>
  stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
