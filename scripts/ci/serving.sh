#!/usr/bin/env bash
# mos serve from outside, on the bundled model: OpenAI's Python client, where Python has it, and a few seconds of load.
# usage: bash scripts/ci/serving.sh [PYTHON]
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${1:-${MOS_PYTHON:-python3}}
if "$python" -c 'import openai' 2>/dev/null; then
  "$python" scripts/verify/openai_client.py
  "$python" scripts/verify/finetuning_client.py
else
  echo "skipped: $python has no openai"
fi
npm run --silent bench:load -- --model assets/tiny-english --minutes 0.17 --connections 20
