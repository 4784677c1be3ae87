#!/usr/bin/env bash
# Installs Debian's Chromium where scripts/chromium.ts finds none; fails where that cannot be.
# usage: bash scripts/ci/chromium.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
if node --import tsx --input-type=module --eval 'import { findChromium } from "./scripts/chromium.ts"; findChromium();' 2>/dev/null
then exit 0; fi
root=()
if [ "$(id -u)" != 0 ]; then root=(sudo -n); fi
"${root[@]}" apt-get update -qq
"${root[@]}" apt-get install -y -qq --no-install-recommends chromium
