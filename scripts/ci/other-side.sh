#!/usr/bin/env bash
# What other programs make of our files: PEFT and transformers, where Python has them; skipped elsewhere.
# usage: bash scripts/ci/other-side.sh [PYTHON]
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${1:-${MOS_PYTHON:-python3}}
if ! "$python" -c 'import peft, torch, transformers' 2>/dev/null; then
  echo "skipped: $python has no torch, transformers and peft"
  exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" scripts/verify/exchange.py "$work/exchange"
"$python" scripts/verify/merged_folder.py "$work/merged"
"$python" scripts/verify/family_exchange.py "$work/families"
if "$python" -c 'import openai' 2>/dev/null; then
  "$python" scripts/verify/peft_folder.py
else
  echo "skipped: $python has no openai"
fi
