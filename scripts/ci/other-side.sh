#!/usr/bin/env bash
# What other programs make of our files: llama.cpp, where MOS_LLAMA is a node_modules with node-llama-cpp@3.21.1 and MOS_TEST_MODEL
# SmolLM2-135M-Instruct's Q4_1 GGUF file; PEFT and transformers, where Python has them. Skipped elsewhere.
# usage: bash scripts/ci/other-side.sh [PYTHON]
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -n "${MOS_LLAMA:-}" ] && [ -n "${MOS_TEST_MODEL:-}" ]; then
  facts=bench/teach/facts
  node packages/mos/dist/cli/main.js train --model "$MOS_TEST_MODEL" --data $facts-train.jsonl --out "$work/facts" \
    --epochs 10 --keep 0 --reword 0 --quiet
  node --conditions=source --import tsx scripts/verify/llama-answers.ts "$MOS_TEST_MODEL" "$work/facts" \
    $facts-train.jsonl $facts-paraphrases.jsonl --llama "$MOS_LLAMA"
else
  echo "skipped: MOS_LLAMA or MOS_TEST_MODEL is not given"
fi
python=${1:-${MOS_PYTHON:-python3}}
if ! "$python" -c 'import peft, torch, transformers' 2>/dev/null; then
  echo "skipped: $python has no torch, transformers and peft"
  exit 0
fi
"$python" scripts/verify/exchange.py "$work/exchange"
"$python" scripts/verify/merged_folder.py "$work/merged"
"$python" scripts/verify/family_exchange.py "$work/families"
if [ -n "${MOS_LLAMA:-}" ] && "$python" -c 'import gguf' 2>/dev/null; then
  "$python" scripts/verify/family_gguf.py "$work/gguf"
  node --conditions=source --import tsx scripts/verify/family-gguf.ts "$work/gguf" --llama "$MOS_LLAMA"
else
  echo "skipped: MOS_LLAMA is not given, or $python has no gguf"
fi
if "$python" -c 'import openai' 2>/dev/null; then
  "$python" scripts/verify/peft_folder.py
else
  echo "skipped: $python has no openai"
fi
