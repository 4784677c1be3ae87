"""A server of this repository's build (npm run build) as a child process, for the scripts beside this file."""

import contextlib
import json
import subprocess
import tempfile
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MOS = ["node", str(ROOT / "packages/mos/dist/cli/main.js")]


def mos(*arguments):
    """Runs a command to its end and gives what it printed."""
    run = subprocess.run([*MOS, *map(str, arguments)], stdout=subprocess.PIPE, text=True, check=True)
    return run.stdout


@contextlib.contextmanager
def serving(model, *options):
    """The address of a server that is stopped in the end, and what it calls its base."""
    command = [*MOS, "serve", "--model", str(model), "--port", "0", "--json", *map(str, options)]
    with tempfile.TemporaryFile("w+") as log:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            line = child.stdout.readline()
            if not line:
                child.wait()
                log.seek(0)
                raise SystemExit(f"mos serve ended with {child.returncode}:\n{log.read()}")
            ready = json.loads(line)
            yield ready["address"], ready["model"]
        finally:
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(60)
            child.kill()
            child.stdout.close()


def base_of(address, key="none"):
    """What a server that runs already calls its base."""
    request = urllib.request.Request(f"{address}/v1/models", headers={"authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request) as answer:
        models = json.load(answer)["data"]
    return next(model["id"] for model in models if model["parent"] is None)
