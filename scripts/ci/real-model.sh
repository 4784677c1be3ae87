#!/usr/bin/env bash
# What needs a real model: the tests against transformers' numbers, two training steps and an answer.
# usage: bash scripts/ci/real-model.sh [REPORT.json]
# MOS_TEST_MODEL: SmolLM2-135M-Instruct's Q4_1 GGUF file. Without it, the file is fetched by MOS_FETCH_MODEL, a script
# that puts it into the folder it is given; without that script too, all of this is skipped.
set -euo pipefail
cd "$(dirname "$0")/../.."
report=${1:-/dev/null}
fetch=${MOS_FETCH_MODEL:-../shared/peers/fetch_smollm2.sh}
model=${MOS_TEST_MODEL:-}

if [ -z "$model" ]; then
  model=.mos/models/SmolLM2-135M-Instruct.Q4_1.gguf
  if [ ! -f "$model" ]; then
    if [ ! -f "$fetch" ]; then
      echo "skipped: no MOS_TEST_MODEL, and no script at $fetch to fetch SmolLM2-135M with"
      exit 0
    fi
    echo "fetching SmolLM2-135M-Instruct (93 MB) with $fetch"
    bash "$fetch" .mos/models
  fi
fi
[ -f "$model" ] || { echo "$model does not exist"; exit 1; }
MOS_TEST_MODEL=$(realpath "$model")
export MOS_TEST_MODEL
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo "-- tests that need the model"
mapfile -t tests < <(grep -rl MOS_TEST_MODEL src test --include='*.test.ts')
reporters=(--reporter=default)
[ "$report" = /dev/null ] || reporters+=(--reporter=json --outputFile.json="$report")
npx --no vitest run "${reporters[@]}" -t SmolLM2 "${tests[@]}"

if python3 -c "import gguf" 2>/dev/null; then
  echo "-- the base as stored beside its float32 expansion, in other types"
  python3 scripts/verify/gguf_types.py "$MOS_TEST_MODEL" "$work/types" Q4_0 Q5_1 Q6_K --layers 2
  npm run --silent verify:gguf-types -- "$work"/types/*.gguf --tokens 24
  rm -r "$work/types"
fi

echo "-- two steps of training"
node dist/cli/main.js train --model "$MOS_TEST_MODEL" --data assets/quickstart/train.jsonl --out "$work/adapter" \
  --steps 2 --batch-size 2 --max-length 128 --examples 16 --held-out 4 --learning-rate 2e-5

echo "-- an answer with the adapter"
answer=$(node dist/cli/main.js generate --model "$MOS_TEST_MODEL" --adapter "$work/adapter" \
  --prompt "What is the capital of France?" --max-tokens 24)
echo "$answer"
grep -q Paris <<<"$answer" || { echo "the answer does not name Paris"; exit 1; }

echo "-- the same from the merged folder"
node dist/cli/main.js merge "$work/adapter" --model "$MOS_TEST_MODEL" --out "$work/merged" --dtype float32 --quiet
merged=$(node dist/cli/main.js generate --model "$work/merged" --prompt "What is the capital of France?" --max-tokens 24)
[ "$merged" = "$answer" ] || { echo "the merged folder answers otherwise: $merged"; exit 1; }
