#!/usr/bin/env bash
# The tests of a storage in a bucket, on moto's server of S3's protocol, which is installed for them.
# usage: bash scripts/ci/s3.sh [PYTHON]
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${1:-${MOS_PYTHON:-python3}}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "moto[server]==5.2.5"
MOS_MOTO_SERVER=$work/venv/bin/moto_server \
  npx vitest run packages/service/test/{objects,bucket,fleet} --maxWorkers 1
