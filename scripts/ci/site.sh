#!/usr/bin/env bash
# Builds the documentation's site, and looks at every page of it with axe in Chromium, where it is or Debian gives it.
# usage: bash scripts/ci/site.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
npm run docs
npx tsc -p docs
if ! bash scripts/ci/chromium.sh >/dev/null 2>&1; then
  echo "skipped: Chromium is not installed, and cannot be"
  exit 0
fi
node --import tsx docs/.vitepress/check.ts
