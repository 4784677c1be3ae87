#!/usr/bin/env bash
# Builds the documentation's site, and looks at every page of it with axe in Chromium, where Debian has it or gives it.
# usage: bash scripts/ci/site.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
npm run docs
npx tsc -p docs
if ! command -v chromium >/dev/null; then
  if [ "$(id -u)" != 0 ] || ! { apt-get update && apt-get install -y --no-install-recommends chromium; } >/dev/null 2>&1; then
    echo "skipped: Chromium is not installed, and cannot be"
    exit 0
  fi
fi
node --import tsx docs/.vitepress/check.ts
