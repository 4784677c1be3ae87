"""Reads the event files of a run with TensorBoard's own reader, and compares them with metrics.jsonl.

usage: python scripts/verify/tensorboard_events.py RUN_FOLDER...      (pip install tensorboard)

Every scalar has to be there once, with its step and, as event files hold float32, its value rounded to that: also after a
run was killed and resumed, whose files have steps that do not count.
"""

import json
import struct
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

TAGS = {
    "step": {
        "train/loss": lambda line: line["loss"],
        "train/accuracy": lambda line: line["accuracy"],
        "train/learning_rate": lambda line: line["learningRate"],
        "train/grad_norm": lambda line: line["gradientNorm"],
        "train/tokens_per_second": lambda line: line["tokens"] / line["seconds"],
    },
    "evaluation": {
        "eval/loss": lambda line: line["loss"],
        "eval/accuracy": lambda line: line["accuracy"],
    },
}


def float32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def check(run):
    expected = {}
    for text in (run / "metrics.jsonl").read_text().splitlines():
        line = json.loads(text)
        for tag, value in TAGS[line["type"]].items():
            expected.setdefault(tag, []).append((line["step"], float32(value(line))))
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    found = {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }
    for tag in sorted(expected.keys() | found.keys()):
        if expected.get(tag) != found.get(tag):
            sys.exit(f"{run}: {tag} is {found.get(tag)} and not {expected.get(tag)}")
    files = sorted((run / "tensorboard").iterdir())
    scalars = sum(map(len, found.values()))
    print(f"{run}: {scalars} scalars under {len(found)} tags in {len(files)} files, as in metrics.jsonl")


if len(sys.argv) < 2:
    sys.exit(__doc__)
for folder in sys.argv[1:]:
    check(Path(folder))
