#!/usr/bin/env bash
# mos eval and mos score as they were built, on the bundled model and hand-made data, HumanEval's sandbox included.
# usage: bash scripts/ci/evaluation.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mos() { node packages/mos/dist/cli/main.js "$@"; }

evaluate() {
  mos eval --model assets/tiny-english --data test/fixtures/benchmarks --samples 2 --out "$work/results.json" "$@"
}
evaluate
answers() { cat "$work"/results.answers/*.jsonl; }
before=$(answers | sha256sum)
echo "-- again: nothing is asked twice"
evaluate --quiet
[ "$(answers | sha256sum)" = "$before" ] || { echo "the log of answers has changed"; exit 1; }
node -e '
  const { scores } = JSON.parse(require("node:fs").readFileSync(process.argv[1], "utf8"));
  if (scores.length !== 5 || scores.some(({ asked }) => asked > 0)) throw new Error(JSON.stringify(scores));
' "$work/results.json"

echo "-- scores"
cat >"$work/sums.jsonl" <<'CASES'
{"prediction": "So the answer is 1,234.", "references": "1234"}
{"prediction": "18.00", "references": ["18"]}
CASES
cat >"$work/programs.jsonl" <<'CASES'
{"prediction": "    return 1\n", "references": ["def one():\n", "def check(f):\n    assert f() == 1\n", "one"]}
{"prediction": "    import os; os._exit(0)\n", "references": ["def one():\n", "def check(f):\n    assert f() == 1\n", "one"]}
CASES
[ "$(mos score --task gsm8k --file "$work/sums.jsonl" | grep -c '"score":1')" = 1 ]
[ "$(mos score --task humaneval --file "$work/programs.jsonl" | grep -c '"score":1')" = 1 ]
