#!/usr/bin/env bash
# The programs on WebGPU over a Vulkan driver in software, where Debian has it or gives it: none computes on the CPU.
# usage: bash scripts/ci/webgpu.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
if ! ls /usr/share/vulkan/icd.d/lvp_icd*.json >/dev/null 2>&1; then
  if [ "$(id -u)" != 0 ] || ! { apt-get update && apt-get install -y --no-install-recommends mesa-vulkan-drivers libvulkan1; } >/dev/null 2>&1; then
    echo "skipped: Mesa's software Vulkan is not installed, and cannot be"
    exit 0
  fi
fi
MOS_TEST_WEBGPU=1 npx --no vitest run --project slow packages/core/test/webgpu.slow.test.ts --maxWorkers 1
