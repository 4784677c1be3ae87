#!/usr/bin/env bash
# The base in its own numbers, as it was built: tiny random models of every GGUF type, and a folder of bfloat16, through
# train, resume, generate, serve, eval, merge and export; and what has to be refused.
# usage: bash scripts/ci/base-dtypes.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
mos() { node packages/mos/dist/cli/main.js "$@"; }
say() { echo "-- $* ($SECONDS s)"; }
random() {
  node --conditions=source --import tsx scripts/random-model.ts --preset llama3.2-1b --layers 2 --hidden 256 \
    --inner 512 --heads 4 --kv-heads 2 --vocabulary 1024 --positions 512 "$@" >/dev/null
}
settings=(--data assets/quickstart/train.jsonl --max-examples 32 --validation-split 0 --batch-size 2 --max-length 64
  --rank 3 --equivalent-rank 2)
train() { # MODEL OUT [OPTIONS]
  local model=$1 out=$2
  shift 2
  mos train --model "$model" --out "$out" "${settings[@]}" --steps 2 --quiet "$@"
}
refused() { # MESSAGE COMMAND...
  local message=$1
  shift
  if "$@" >"$work/refused.txt" 2>&1; then echo "not refused: $*"; exit 1; fi
  grep -qE "$message" "$work/refused.txt" || { echo "refused otherwise: $*"; cat "$work/refused.txt"; exit 1; }
  [ "$(wc -l <"$work/refused.txt")" -le 4 ] || { echo "a long message: $*"; cat "$work/refused.txt"; exit 1; }
}

say "models of every type"
types="Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q4_K Q5_K Q6_K F16 BF16 F32"
for type in $types; do random --type "$type" --out "$work/$type.gguf"; done
random --format folder --type BF16 --out "$work/folder"

say "two steps on each, as stored"
for type in $types; do train "$work/$type.gguf" "$work/on-$type"; done
train "$work/folder" "$work/on-folder"

say "two steps with other numbers"
for dtype in float32 int8 int4 nf4; do train "$work/folder" "$work/on-folder-$dtype" --base-dtype "$dtype"; done
train "$work/Q4_1.gguf" "$work/on-compute" --compute-dtype float32

say "killed after a checkpoint and resumed: the same bytes"
for options in "" "--base-dtype nf4" "--compute-dtype float32"; do
  read -ra words <<<"$options"
  long=("${settings[@]}" --steps 16 --save-every 1 --json "${words[@]}")
  mos train --model "$work/Q4_K.gguf" --out "$work/whole" "${long[@]}" >/dev/null
  : >"$work/events" # not those of the run before
  node packages/mos/dist/cli/main.js train --model "$work/Q4_K.gguf" --out "$work/halves" "${long[@]}" >>"$work/events" &
  victim=$!
  until grep -q '"checkpoint"' "$work/events"; do sleep 0.02; done
  kill -9 "$victim"
  wait "$victim" 2>/dev/null || true
  mos train --model "$work/Q4_K.gguf" --out "$work/halves" "${long[@]}" --resume >/dev/null
  cmp "$work/whole/adapter_model.safetensors" "$work/halves/adapter_model.safetensors"
  rm -r "$work/whole" "$work/halves"
done

say "answers, with an adapter of another quantisation of the model"
for dtype in stored float32 int8 int4 nf4; do
  mos generate --model "$work/Q8_0.gguf" --adapter "$work/on-Q4_K" --base-dtype "$dtype" --prompt Hello \
    --max-tokens 4 >/dev/null
done
mos generate --model "$work/folder" --adapter "$work/on-Q4_K" --prompt Hello --max-tokens 4 >/dev/null

say "a server in four bits"
mkdir "$work/adapters"
cp -r "$work/on-Q4_0" "$work/adapters/acme"
node packages/mos/dist/cli/main.js serve --model "$work/Q4_0.gguf" --model-name base --adapters "$work/adapters" --base-dtype int4 \
  --max-batch 4 --port 0 --json --quiet >"$work/ready.json" &
server=$!
until [ -s "$work/ready.json" ]; do kill -0 "$server"; sleep 0.05; done
address=$(node -e 'console.log(JSON.parse(require("node:fs").readFileSync(process.argv[1], "utf8")).address)' "$work/ready.json")
for model in base acme; do
  curl -sf "$address/v1/completions" -H 'content-type: application/json' \
    -d "{\"model\": \"$model\", \"prompt\": \"Hello\", \"max_tokens\": 4}" | grep -q '"choices"'
done
kill "$server"
wait "$server" || true
server=

say "eval, merge, export, inspect"
mos eval --model "$work/Q5_K.gguf" --adapter "$work/on-Q5_K" --data test/fixtures/benchmarks --tasks mmlu --limit 2 \
  --chat-format none --shots 0 --out "$work/results.json" --quiet
mos merge "$work/on-Q6_K" --model "$work/Q6_K.gguf" --out "$work/merged" --quiet
mos generate --model "$work/merged" --prompt Hello --max-tokens 4 >/dev/null
for format in peft gguf; do
  mos export "$work/on-Q5_1" --model "$work/Q5_1.gguf" --format "$format" --out "$work/exported.$format" >/dev/null
done
mos inspect "$work/on-Q4_1" --model "$work/Q4_1.gguf" >/dev/null
mos params --model "$work/Q4_1.gguf" --memory --batch-size 1 --max-length 512 --rank 3 >/dev/null

say "what is refused"
change() { # FILE TO TENSOR HOW
  node --conditions=source --import tsx scripts/ci/damage-gguf.ts "$@"
}
change "$work/Q4_1.gguf" "$work/unknown.gguf" type
refused 'blk\.0\.attn_q\.weight.*Q2_K' train "$work/unknown.gguf" "$work/none"
change "$work/Q4_1.gguf" "$work/infinite.gguf" scale
refused 'infinite\.gguf: .*q_proj\.weight' train "$work/infinite.gguf" "$work/none"
head -c 200000 "$work/Q4_1.gguf" >"$work/short.gguf"
refused 'cut short' train "$work/short.gguf" "$work/none"
refused 'base-dtype' train "$work/Q4_1.gguf" "$work/none" --base-dtype int3
random --type Q4_1 --seed 1 --out "$work/other.gguf"
refused 'other\.gguf|another model|trained on' mos generate --model "$work/other.gguf" --adapter "$work/on-Q4_1" --prompt Hello
[ ! -e "$work/none" ] || { echo "a refused run left $(ls -R "$work/none")"; exit 1; }
say "done"
