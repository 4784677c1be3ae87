#!/usr/bin/env bash
# What depends on Node itself (permissions, processes, WebAssembly), on a newer one than the oldest that is supported.
# usage: bash scripts/ci/newer-node.sh [VERSION (24)]
set -euo pipefail
cd "$(dirname "$0")/../.."
newer=(npx --yes --package="node@${1:-24}" -- node)
"${newer[@]}" --version
"${newer[@]}" node_modules/vitest/vitest.mjs run packages/lab/src/sandbox/checker.test.ts packages/lab/test/evaluation/score-command.test.ts \
  test/inference/lifecycle.test.ts src/cli/main.slow.test.ts test/server/serve-command.slow.test.ts
