#!/usr/bin/env bash
# What depends on Node itself (permissions, processes, sockets, WebAssembly, native code) on the releases after the oldest
# supported one: the engine, training, both add-ons and the command. Binaries come from npm.
# usage: bash scripts/ci/newer-node.sh [VERSION ...]   (22 and 24 by default)
set -euo pipefail
cd "$(dirname "$0")/../.."
[ $# -gt 0 ] || set -- 22 24
for version in "$@"; do
  if ! npm view "node@$version" version >/dev/null 2>&1; then
    echo "skipped: Node $version, as npm's registry cannot be reached"
    continue
  fi
  newer=(npx --yes --package="node@$version" -- node)
  "${newer[@]}" --version
  "${newer[@]}" node_modules/vitest/vitest.mjs run packages/server/src/http.test.ts packages/mos/test/finetune.test.ts packages/core/test/inference/lifecycle.test.ts \
    packages/grammar/src/compiler/compiler.test.ts packages/sandbox/src/checker.test.ts packages/lab/test/evaluation/score-command.test.ts packages/service/test/jobs.test.ts \
    packages/mos/src/cli/main.slow.test.ts packages/server/test/serve-command.slow.test.ts
done
