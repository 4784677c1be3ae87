/**
 * Runs one program in the system's Python, as HumanEval's own harness does: an alarm, limits of the system, functions that
 * could do harm by accident set to None. Standard input is one JSON object; descriptor 3 gets its token if the program ran to
 * its end without an error, the error if there was one, and nothing if it was late.
 */
export const HARNESS = `
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
