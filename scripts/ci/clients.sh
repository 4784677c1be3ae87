#!/usr/bin/env bash
# Programs of others against mos serve, unchanged: OpenAI's and Anthropic's clients for Node and Python, OpenAI's Agents SDK, Vercel's AI
# SDK, LangChain, and requests as Codex, Claude Code and the tests of Open Responses send them; what they ask of tools, forms, the
# Responses and the Messages API, and jobs that learn from pairs and from rewards. They are in test/clients, with exact versions. The model is the bundled one with room for longer prompts:
# what it says there makes no sense, and constrained decoding makes it well formed.
# usage: bash scripts/ci/clients.sh [PYTHON]   (needs the registries of npm and PyPI, else what they lack is skipped)
set -euo pipefail
# the oldest Node that all of the clients support
readonly NODE=22
cd "$(dirname "$0")/../.."
python=${1:-${MOS_PYTHON:-python3}}
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT

cp -r assets/tiny-english "$work/tiny-english"
sed -i.stored 's/"max_position_embeddings": 512/"max_position_embeddings": 4096/' "$work/tiny-english/config.json"
rm "$work/tiny-english/config.json.stored"
node --conditions=source --import tsx packages/mos/src/cli/main.ts serve --model "$work/tiny-english" --max-batch 4 --port 0 --json \
  --state "$work/state" \
  >"$work/ready" 2>"$work/log" &
server=$!
for _ in $(seq 600); do
  [ ! -s "$work/ready" ] || break
  kill -0 "$server" 2>/dev/null || { cat "$work/log"; exit 1; }
  sleep 0.2
done
MOS_URL=$(node -p 'JSON.parse(fs.readFileSync(process.argv[1], "utf8").split("\n")[0]).address' "$work/ready")/v1
export MOS_URL MOS_MODEL=tiny-english MOS_DATA=$PWD/assets/quickstart

if npm ping >/dev/null 2>&1; then
  mkdir "$work/clients"
  cp test/clients/*.mjs test/clients/*.json "$work/clients"
  (cd "$work/clients" && npx --yes --package="node@$NODE" --call 'npm ci --no-audit --no-fund --loglevel=error && node --test --test-concurrency=2 ./*.test.mjs')
else
  echo "skipped: clients for Node, as npm's registry cannot be reached"
fi

if "$python" -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet --requirement test/clients/requirements.txt; then
  "$work/venv/bin/python" test/clients/client.py
  "$work/venv/bin/python" test/clients/anthropic_client.py
else
  echo "skipped: clients for Python, as $python cannot install them"
fi
