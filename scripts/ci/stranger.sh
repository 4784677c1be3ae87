#!/usr/bin/env bash
# What a stranger does with the packages in a project of its own, outside of this repository: they are packed and installed
# with npm 10 and 11, or those given, engines checked; commands of the package and of its add-ons run; every entry point is
# compiled strictly; programs run as CommonJS and as docs/how-to/bundlers.md bundles them. A warning of npm's that is ours to
# avoid is an error.
# usage: bash scripts/ci/stranger.sh [NPM ...]   (10 and 11 by default; after npm run build; needs npm's registry)
set -euo pipefail
readonly ESBUILD=0.28.2
[ $# -gt 0 ] || set -- 10 11
readonly last=${!#}
repository=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
say() { echo "$((SECONDS / 60)):$(printf %02d $((SECONDS % 60)))  $1"; }
version_of() { node -p 'require(process.argv[1]).devDependencies[process.argv[2]]' "$repository/package.json" "$1"; }

# A log of npm's, of which no warning may be ours. npm 11 lists all packages that have an install script, in one notice: so
# onnxruntime-node is in it whatever we do, and our script, without which that one's would download. Settings of this
# machine are not ours either.
expect_no_warning() {
  local listed='install-scripts( +(mixture-of-shards-graph@.*preinstall|(onnxruntime-node|esbuild)@.*postinstall).*| [0-9] packages .*| Run .*|)$'
  local machine='Unknown (env|user|global|builtin) config'
  if grep -E '^npm (warn|error)' "$1" | grep -vE "^npm warn ($listed|$machine)"; then
    echo "npm warns of what is ours to avoid"
    exit 1
  fi
}

cd "$repository"
npm pack --silent --ignore-scripts --pack-destination "$work" --workspaces >/dev/null
# the files of packages by the ends of their names; the package that people install has none
files_of() { for package in "$@"; do echo "$work/mixture-of-shards$package-"[0-9]*.tgz; done; }
readonly INNER="-core -grammar -graph -sandbox -server"
# shellcheck disable=SC2046,SC2086 # several words
package=$(echo $(files_of "" $INNER)) add_ons=$(echo $(files_of -lab -service))
say "packed: $(cd "$work" && echo *.tgz)"

for npm in "$@"; do
  mkdir "$work/npm-$npm" && cd "$work/npm-$npm"
  echo '{ "name": "stranger", "private": true, "type": "module" }' >package.json
  tools=()
  if [ "$npm" = "$last" ]; then
    tools=("typescript@$(version_of typescript)" "@types/node@$(version_of @types/node)" "esbuild@$ESBUILD")
  fi
  # the package with those on which it depends, then its add-ons, from their files
  for packages in "$package ${tools[*]}" "$add_ons"; do
    # shellcheck disable=SC2086 # several words
    npx --yes --package="npm@$npm" -- npm install --engine-strict --no-audit --no-fund $packages >log 2>&1 || { cat log; exit 1; }
    expect_no_warning log
    grep '^added ' log
  done
  [ "$(npx --no -- mixture-of-shards --version)" = "$(npx --no -- mos --version)" ]
  npx --no -- mixture-of-shards params --preset llama2-7b >/dev/null
  npx --no -- mixture-of-shards score --task gsm8k --rules lm-eval --file "$repository/test/fixtures/predictions.jsonl" >/dev/null
  say "installed with npm $npm, with a command of an add-on"
done

cd "$work/npm-$last"
node node_modules/.bin/mos serve --model node_modules/mixture-of-shards/assets/tiny-english --state state --port 0 --json --quiet >ready &
server=$!
until [ -s ready ]; do kill -0 $server && sleep 0.2; done
curl --silent --fail "$(node -p 'JSON.parse(fs.readFileSync("ready")).address')/v1/fine_tuning/jobs" >/dev/null
kill $server && wait $server
say "served with the add-on for fine-tuning"

mkdir "$work/once" && cd "$work/once"
# shellcheck disable=SC2046,SC2086 # several words
npx --yes $(printf -- '--package=%s ' $package) -- mixture-of-shards --version
say "run by npx, in a folder without a project"

cd "$work/npm-$last"
cp "$repository"/examples/{budget,finetune,generate,server}.ts .
ln -s node_modules/mixture-of-shards/assets assets
mkdir adapters

# every entry point of every package, from their own lists
entry_points() {
  node -p '
    const { name, exports } = require(`${process.cwd()}/node_modules/${process.argv[1]}/package.json`);
    Object.keys(exports).filter((path) => !path.endsWith(".json")).map((path) => name + path.slice(1)).join("\n")' "$1"
}
entry_points=$(for name in "" $INNER -lab -service; do entry_points "mixture-of-shards$name"; done)
n=0
for entry in $entry_points; do echo "export * as a$((++n)) from \"$entry\";"; done >entry_points.ts
for entry in $entry_points; do echo "if (Object.keys(require(\"$entry\")).length === 0) throw new Error(\"$entry is empty\");"; done >entry_points.cjs
for resolution in "nodenext --moduleResolution nodenext" "esnext --moduleResolution bundler"; do
  # shellcheck disable=SC2086 # two words
  npx tsc --ignoreConfig --noEmit --strict --exactOptionalPropertyTypes --noUncheckedIndexedAccess --skipLibCheck false \
    --target es2023 --types node --module $resolution *.ts
done
say "compiled strictly: $(echo "$entry_points" | wc -l) entry points and $(ls *.ts | wc -l) programs"

node --throw-deprecation --trace-warnings entry_points.cjs >entry_points.txt 2>&1 || { cat entry_points.txt; exit 1; }
if [ -s entry_points.txt ]; then cat entry_points.txt; exit 1; fi
say "required by a CommonJS program, without a word"

awk '/^```sh$/ { shown = 1; next } /^```$/ { shown = 0 } shown' "$repository/docs/how-to/bundlers.md" >bundlers.sh
[ "$(grep -c '^npx esbuild' bundlers.sh)" = 2 ]
bash -euo pipefail bundlers.sh >bundled.txt 2>&1 || { cat bundled.txt; exit 1; }
[ "$(grep -c '"text_completion"' bundled.txt)" = 2 ] && [ "$(grep -c ' tokens, ' bundled.txt)" = 4 ]
say "bundled by the commands of docs/how-to/bundlers.md, and run"
