# Stages with their time, and the closing line: sourced by .ci/run and .ci/full at the root of the clone.
export CI=1 NO_COLOR=1
work=$(mktemp -d)
finished=no
readonly reporters=(--reporter=default --reporter=json)

# Prints the closing line, however the run ends: the sum over vitest's reports in $work.
close() {
  local code=$?
  if [ "$finished" != yes ]; then
    echo
    echo "FAILED in: $(cat "$work/${failed:-main}.step" 2>/dev/null || echo the start) (exit code $code)"
  fi
  node -e '
    const { readdirSync, readFileSync } = require("node:fs");
    const [isFinished, folder] = process.argv.slice(1);
    let passed = 0, failed = 0;
    for (const name of readdirSync(folder).filter((name) => name.endsWith("tests.json"))) {
      const report = JSON.parse(readFileSync(`${folder}/${name}`, "utf8"));
      passed += report.numPassedTests;
      failed += report.numFailedTests;
    }
    if (isFinished !== "yes" && failed === 0) failed = 1; // a step other than the tests
    console.log(`${passed} passed, ${failed} failed`);
  ' "$finished" "$work"
  rm -rf "$work"
}
trap close EXIT

begin() {
  echo "$1" >"$work/${lane:-main}.step"
  echo
  echo "== $1 ($((SECONDS / 60)):$(printf %02d $((SECONDS % 60))))"
}

# Runs functions side by side, with their name before each line. The first that fails ends the others.
together() {
  local -A names=()
  local name pid ended code
  set -m # each with a group of processes of its own
  for name; do
    { lane=$name; "$name"; } > >(sed -u "s/^/$name: /") 2>&1 &
    names[$!]=$name
  done
  set +m
  while [ ${#names[@]} -gt 0 ]; do
    code=0
    wait -n -p ended "${!names[@]}" || code=$?
    if [ "$code" -ne 0 ]; then
      failed=${names[$ended]}
      for pid in "${!names[@]}"; do kill -- "-$pid" 2>/dev/null || true; done
      exit "$code"
    fi
    unset "names[$ended]"
  done
}

finish() {
  finished=yes
  echo
  echo "all of it took $((SECONDS / 60)):$(printf %02d $((SECONDS % 60)))"
}

# An installation by the README's own command. Every newcomer sees the warnings of npm; that a dependency of a dependency
# is deprecated is not ours to change.
install() {
  npm ci --no-audit --no-fund </dev/null 2>&1 | tee "$work/npm-ci.txt"
  if grep '^npm warn' "$work/npm-ci.txt" | grep -v ' deprecated '; then exit 1; fi
}
