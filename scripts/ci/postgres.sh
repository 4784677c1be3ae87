#!/usr/bin/env bash
# The tests of fine-tuning as a service once more on a PostgreSQL of their own, where Debian has it or gives it.
# usage: bash scripts/ci/postgres.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
if ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then
  if [ "$(id -u)" != 0 ] || ! { apt-get update && apt-get install -y --no-install-recommends postgresql; } >/dev/null 2>&1; then
    echo "skipped: PostgreSQL is not installed, and cannot be"
    exit 0
  fi
fi
programs=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
as=()
folder=$(mktemp -d)
if [ "$(id -u)" = 0 ]; then
  as=(runuser -u postgres --)
  chown postgres "$folder"
fi
stop() {
  (cd "$folder" && "${as[@]}" "$programs/pg_ctl" -D "$folder/data" -m immediate stop >/dev/null) || true
  rm -rf "$folder"
}
trap stop EXIT
(
  cd "$folder"
  "${as[@]}" "$programs/initdb" -D "$folder/data" -U mos --auth=trust >/dev/null
  "${as[@]}" "$programs/pg_ctl" -w -D "$folder/data" -l "$folder/log" -o "-p 54329 -k $folder -c autovacuum_naptime=1s" start >/dev/null
)
MOS_DATABASE_URL=postgres://mos@127.0.0.1:54329/postgres \
  npx vitest run packages/service/test -t PostgreSQL --maxWorkers 1 --exclude "**/{faults,outages}.slow.test.ts"
