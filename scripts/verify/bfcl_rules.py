"""The rules of `mos score --task bfcl` against the leaderboard's own checker, on its possible answers and on changed ones.

    pip download bfcl-eval==2026.3.23 --no-deps && unzip -q bfcl_eval-*.whl -d bfcl
    python scripts/verify/bfcl_rules.py bfcl --changes 20 --seed 1 --cases cases.jsonl > expected.txt
    mos score --task bfcl --file cases.jsonl | node -e '
      for (const line of require("fs").readFileSync(0, "utf8").trim().split("\n")) console.log(JSON.parse(line).score)' | diff expected.txt -

The first cases are the possible answers themselves. Needs only the standard library: the checker's imports of other
programs' clients are replaced.
"""

import argparse
import copy
import json
import random
import sys
import types
from pathlib import Path

CATEGORIES = ["simple_python", "multiple", "parallel", "parallel_multiple"]
VALUES = ["", "5", "New York", "new_york", 0, 1, 5, 10, 5.0, 0.5, -3, True, False, None, [], [5], [5.0], ["a"], ["A."], {}, {"a": 1}, [{}], [[1]]]


def load_checker(folder):
    """The checker without the clients of models that its package imports."""
    sys.path.insert(0, str(folder))

    class Settings:
        underscore_to_dot = True

    class Models(dict):
        def __missing__(self, _):
            return Settings

    def stub(name, **members):
        module = types.ModuleType(name)
        module.__dict__.update(members)
        sys.modules[name] = module

    stub("bfcl_eval.constants.model_config", MODEL_CONFIG_MAPPING=Models())
    converters = "bfcl_eval.eval_checker.ast_eval.type_convertor."
    stub(converters + "java_type_converter", java_type_converter=None)
    stub(converters + "js_type_converter", js_type_converter=None)
    from bfcl_eval.constants.enums import Language
    from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker

    def check(functions, calls, answers, category):
        try:
            return int(ast_checker(functions, calls, answers, Language.PYTHON, category, "model")["valid"])
        except (AttributeError, KeyError, TypeError):
            return 0  # its evaluation counts what the checker cannot take as wrong

    return check


def first(value):
    """The first possible answer, with what may be left out left out."""
    if isinstance(value, list):
        return [first(one) for one in value]
    if not isinstance(value, dict):
        return value
    chosen = {}
    for key, allowed in value.items():
        given = [one for one in allowed if one != ""]
        if given:
            chosen[key] = first(given[0])
    return chosen


def right_calls(answers):
    return [{name.replace(".", "_"): first(given)} for answer in answers for name, given in answer.items()]


def change(calls, answers, draw):
    """Calls with one to three changes, some of which leave them right."""
    calls = copy.deepcopy(calls)
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        if not calls:
            break
        at = draw.randrange(len(calls))
        (name, given), = calls[at].items()
        key = draw.choice(list(given)) if given else "extra"
        allowed = [one for answer in answers for arguments in answer.values() for one in arguments.get(key, [])]
        kind = draw.randrange(12)
        if kind == 0:
            calls.pop(at)
        elif kind == 1:
            calls.append(copy.deepcopy(calls[at]))
        elif kind == 2:
            draw.shuffle(calls)
        elif kind == 3:
            calls[at] = {name + draw.choice(["", "x", "."]): given}
        elif kind == 4:
            given.pop(key, None)
        elif kind == 5:
            given[draw.choice(["extra", key])] = draw.choice(VALUES)
        elif kind in (6, 7) and allowed:
            given[key] = first(draw.choice(allowed))
        else:
            given[key] = changed_value(given.get(key), draw)
    return calls


def changed_value(value, draw):
    if isinstance(value, bool):
        return draw.choice([not value, int(value), str(value)])
    if isinstance(value, (int, float)):
        return draw.choice([float(value), int(value), value + 1, str(value), bool(value)])
    if isinstance(value, str):
        return draw.choice([value.upper(), value.replace(" ", ""), value + ".", value + "x", value.replace(" ", "-"), "'" + value + '"', [value]])
    if isinstance(value, list):
        if not value:
            return draw.choice([[""], [0], ""])
        at = draw.randrange(len(value))
        return draw.choice([value[::-1], value[:-1], value + value[:1], value[:at] + [changed_value(value[at], draw)] + value[at + 1 :], value[0]])
    if isinstance(value, dict) and value:
        key = draw.choice(list(value))
        return draw.choice([{**value, key: changed_value(value[key], draw)}, {k: v for k, v in value.items() if k != key}, {**value, "extra": 1}])
    return draw.choice(VALUES)


def rows(folder, category):
    read = lambda path: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    data = folder / "bfcl_eval" / "data"
    name = f"BFCL_v4_{category}.json"
    lines = (data / "possible_answer" / name).read_text(encoding="utf-8").splitlines()
    answers = {json.loads(line)["id"]: line for line in lines if line.strip()}
    return [(row["function"], answers[row["id"]]) for row in read(data / name)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--changes", type=int, default=10, help="changed answers for each question")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=Path, required=True)
    given = parser.parse_args()
    check = load_checker(given.folder)
    draw = random.Random(given.seed)
    with given.cases.open("w", encoding="utf-8") as cases:
        for category in CATEGORIES:
            count = right = 0
            for functions, line in rows(given.folder, category):
                answers = json.loads(line)["ground_truth"]
                known = right_calls(answers)
                right += check(functions, known, answers, category)
                count += 1
                for calls in [known] + [change(known, answers, draw) for _ in range(given.changes)]:
                    written = [{"name": name, "arguments": json.dumps(value)} for call in calls for name, value in call.items()]
                    prediction = json.dumps({"content": "", "tool_calls": written})
                    cases.write(json.dumps({"prediction": prediction, "references": [json.dumps(functions), line]}) + "\n")
                    print(check(functions, calls, answers, category))
            print(f"{category}: {right} of {count} possible answers are right", file=sys.stderr)


if __name__ == "__main__":
    main()
