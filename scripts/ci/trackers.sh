#!/usr/bin/env bash
# Runs that are written to real servers of MLflow and Trackio, which are killed in the middle and started again, and read back with
# these programs' own packages; and Weights & Biases' own client against the server that stands for it in the tests.
# usage: bash scripts/ci/trackers.sh [PYTHON]   (needs PyPI, else it is skipped)
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${1:-${MOS_PYTHON:-python3}}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if ! { "$python" -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet mlflow==3.17.2 trackio==0.43.0 wandb==0.31.0; }; then
  echo "skipped: $python cannot install trackers"
  exit 0
fi
node --conditions=source --import tsx scripts/ci/trackers.ts "$work/venv/bin/python" "$work"
