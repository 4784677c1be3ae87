// Programs in the system's Python, only on request: limits, but no sandbox.
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { access, constants, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { type CheckResult, cancelled, type Limits, SandboxError } from "./checker.ts";

/** Seconds after the alarm until the process is killed. */
const GRACE_SECONDS = 1;
/** Seconds that Python may take to start. */
const START_SECONDS = 30;
const MAX_RESULT = 1000;

/** @throws SandboxError `not_found`, `bad_option` for what is not Python. */
export async function openSystemPython(python: string, { seconds, memory }: Limits) {
  await access(python, constants.X_OK).catch((cause: unknown) => {
    const found = `${python} is not an executable file; give the full path of a Python interpreter`;
    throw new SandboxError("not_found", found, { cause });
  });
  const check = (program: string, signal: AbortSignal): Promise<CheckResult> =>
    checkProgram(python, { program, token: randomUUID(), seconds, memory }, signal);
  const { passed, reason } = await check("assert 1 + 1 == 2", new AbortController().signal);
  if (!passed) throw new SandboxError("bad_option", `${python} does not run Python programs: ${reason}`);
  return { check, [Symbol.asyncDispose]: async () => undefined };
}

/** What the harness reads. */
interface Job extends Limits {
  readonly program: string;
  readonly token: string;
}

async function checkProgram(python: string, job: Job, signal: AbortSignal): Promise<CheckResult> {
  const folder = await mkdtemp(join(tmpdir(), "mos-python-"));
  try {
    const result = await runHarness(python, job, { folder, signal });
    if (signal.aborted) throw cancelled(signal);
    if (result === job.token) return { passed: true, reason: "passed" };
    // as in the original, a process that exits without a result counts as timed out
    return { passed: false, reason: result === "" ? "timed out" : `failed: ${result}` };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The output of the process on descriptor 3 until its end. */
function runHarness(
  python: string,
  job: Job,
  { folder, signal }: { readonly folder: string; readonly signal: AbortSignal },
): Promise<string> {
  return new Promise((resolve, reject) => {
    // a group of its own, which can be killed with all that it started
    const child = spawn(python, ["-I", "-c", HARNESS], {
      cwd: folder,
      env: {},
      detached: true,
      stdio: ["pipe", "ignore", "ignore", "pipe"],
    });
    const kill = (): void => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
      } catch {
        // the group is gone
      }
    };
    // its time is the program's, not what a busy machine takes to start Python
    let timer = setTimeout(kill, START_SECONDS * 1000);
    const started = (): void => {
      clearTimeout(timer);
      timer = setTimeout(kill, (job.seconds + GRACE_SECONDS) * 1000);
    };
    signal.addEventListener("abort", kill, { once: true });
    let result = "";
    const results = child.stdio[3] as Readable;
    results
      .setEncoding("utf8")
      .once("data", started)
      .on("data", (text: string) => {
        result = (result + text).slice(0, MAX_RESULT);
      });
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", kill);
      kill();
      results.destroy();
    };
    child.once("error", (cause) => {
      end();
      reject(new SandboxError("device", `${python} cannot be started: ${cause.message}`, { cause }));
    });
    child.once("exit", () => {
      kill();
      // a process that left the group may hold the pipe open: all output has arrived by then
      setTimeout(() => results.destroy(), 500).unref();
    });
    child.once("close", () => {
      end();
      resolve(result.slice("\n".length));
    });
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(JSON.stringify(job));
  });
}

/**
 * Runs one program in the system's Python, as HumanEval's own harness does: an alarm, limits of the system, functions that
 * could do harm by accident set to None. Standard input is one JSON object; descriptor 3 gets a line end when the program
 * begins, then its token if it ran to its end without an error, the error if there was one, and nothing if it was late.
 */
const HARNESS = `
import sys, os, json

def limits(job):
    try:
        import resource
    except ImportError:
        return
    seconds = int(job["seconds"]) + 2
    for name, value in (
        ("RLIMIT_AS", job["memory"]), ("RLIMIT_DATA", job["memory"]), ("RLIMIT_CPU", seconds),
        ("RLIMIT_FSIZE", 1 << 20), ("RLIMIT_CORE", 0), ("RLIMIT_NPROC", 64),
    ):
        try:
            resource.setrlimit(getattr(resource, name), (value, value))
        except (AttributeError, ValueError, OSError):
            pass

def guard():
    import builtins, faulthandler, shutil, subprocess
    faulthandler.disable()
    os.environ["OMP_NUM_THREADS"] = "1"
    for module, names in (
        (builtins, "exit quit help"),
        (os, "kill system putenv remove removedirs rmdir fchdir setuid fork forkpty killpg rename renames truncate replace"
             " unlink fchmod fchown chmod chown chroot lchflags lchmod lchown getcwd chdir"),
        (shutil, "rmtree move chown"),
        (subprocess, "Popen"),
    ):
        for name in names.split():
            setattr(module, name, None)
    for name in ("ipdb", "joblib", "resource", "psutil", "tkinter"):
        sys.modules[name] = None

def main():
    import io, signal
    job = json.load(sys.stdin)

    class Closed(io.StringIO):
        def read(self, *_): raise OSError("no input")
        readline = readlines = read
        def readable(self): return False

    class TimedOut(BaseException):
        pass

    def alarm(*_):
        raise TimedOut

    sys.stdin, sys.stdout, sys.stderr = Closed(), open(os.devnull, "w"), open(os.devnull, "w")
    sys.argv = [""]
    limits(job)
    guard()
    write, leave, encode = os.write, os._exit, str.encode
    program, token, seconds = job.pop("program"), job.pop("token"), job["seconds"]
    signal.signal(signal.SIGALRM, alarm)
    write(3, b"\\n")
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        exec(program, {})
        signal.setitimer(signal.ITIMER_REAL, 0)
        result = token
    except TimedOut:
        result = ""
    except BaseException as error:
        signal.setitimer(signal.ITIMER_REAL, 0)
        message = str(error)[:200]
        result = type(error).__name__ + (f": {message}" if message else "")
    write(3, encode(result, "utf-8", "replace"))
    leave(0)

main()
`;
