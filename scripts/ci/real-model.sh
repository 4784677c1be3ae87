#!/usr/bin/env bash
# What needs a real model: the tests against transformers' numbers, two training steps, an answer and a merged folder.
# usage: bash scripts/ci/real-model.sh [REPORT.json]
# MOS_TEST_MODEL: SmolLM2-135M-Instruct's Q4_1 GGUF file; MOS_TEST_GEMMA: Gemma 3 270M's Q4_K_M. Without one, it is
# fetched by MOS_FETCH_MODEL or MOS_FETCH_GEMMA, a script that puts the file into the folder it is given; without that
# script too, what needs the model is skipped.
set -euo pipefail
cd "$(dirname "$0")/../.."
report=${1:-/dev/null}

# provide NAME FILE GIVEN FETCH: prints where the model is, or nothing where it cannot be had
provide() {
  local path=${3:-.mos/models/$2}
  if [ -z "$3" ] && [ ! -f "$path" ]; then
    if [ ! -f "$4" ]; then
      echo "skipped: no path of $1 is given, and no script at $4 to fetch it with" >&2
      return
    fi
    echo "fetching $1 with $4" >&2
    bash "$4" .mos/models >&2
  fi
  [ -f "$path" ] || { echo "$path does not exist" >&2; return 1; }
  realpath "$path"
}
smollm2=$(provide SmolLM2-135M-Instruct SmolLM2-135M-Instruct.Q4_1.gguf "${MOS_TEST_MODEL:-}" \
  "${MOS_FETCH_MODEL:-../shared/peers/fetch_smollm2.sh}")
gemma=$(provide "Gemma 3 270M" gemma-3-270m-q4_k_m.gguf "${MOS_TEST_GEMMA:-}" \
  "${MOS_FETCH_GEMMA:-../shared/peers/fetch_gemma3.sh}")
unset MOS_TEST_MODEL MOS_TEST_GEMMA
[ -z "$smollm2" ] || export MOS_TEST_MODEL=$smollm2
[ -z "$gemma" ] || export MOS_TEST_GEMMA=$gemma
[ -n "$smollm2$gemma" ] || exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo "-- tests that need a model"
mapfile -t tests < <(grep -rlE 'MOS_TEST_(MODEL|GEMMA)' src test --include='*.test.ts')
reporters=(--reporter=default)
[ "$report" = /dev/null ] || reporters+=(--reporter=json --outputFile.json="$report")
npx --no vitest run "${reporters[@]}" -t 'SmolLM2|Gemma 3' "${tests[@]}"

if [ -n "$smollm2" ] && python3 -c "import gguf" 2>/dev/null; then
  echo "-- the base as stored beside its float32 expansion, in other types"
  python3 scripts/verify/gguf_types.py "$smollm2" "$work/types" Q4_0 Q5_1 Q6_K --layers 2
  npm run --silent verify:gguf-types -- "$work"/types/*.gguf --tokens 24
  rm -r "$work/types"
fi

# exercise MODEL QUESTION...: the model trained a little answers Paris, and its merged folder does the same
exercise() {
  local model=$1 question=("${@:2}" --max-tokens 24) answer merged
  echo "-- two steps of training $(basename "$model")"
  node packages/mos/dist/cli/main.js train --model "$model" --data assets/quickstart/train.jsonl --out "$work/adapter" \
    --steps 2 --batch-size 1 --max-length 128 --max-examples 16 --validation-split 4 --learning-rate 2e-5

  echo "-- an answer with the adapter"
  # in float32, as the merged folder is computed
  answer=$(node packages/mos/dist/cli/main.js generate --model "$model" --adapter "$work/adapter" --compute-dtype float32 "${question[@]}")
  echo "$answer"
  grep -q Paris <<<"$answer" || { echo "the answer does not name Paris"; exit 1; }

  echo "-- the same from the merged folder"
  node packages/mos/dist/cli/main.js merge "$work/adapter" --model "$model" --out "$work/merged" --dtype float32 --quiet
  merged=$(node packages/mos/dist/cli/main.js generate --model "$work/merged" "${question[@]}")
  [ "$merged" = "$answer" ] || { echo "the merged folder answers otherwise: $merged"; exit 1; }
  rm -r "$work/adapter" "$work/merged"
}
[ -z "$smollm2" ] || exercise "$smollm2" --prompt "What is the capital of France?"
[ -z "$gemma" ] || exercise "$gemma" --raw --prompt $'Question: What is the capital of France?\nAnswer:' # a base model

if [ -n "$smollm2" ]; then
  echo "-- answers with drafts are those without"
  npm run -s bench:drafts -- --model "$smollm2" --rounds 1 --new 60
fi
