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
    echo "FAILED in: ${step:-the start} (exit code $code)"
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
  step=$1
  echo
  echo "== $step ($((SECONDS / 60)):$(printf %02d $((SECONDS % 60))))"
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
