#!/usr/bin/env bash
# A stream and a refused /metrics through the proxy of deploy/, on other ports and with a certificate of its own.
# usage: bash scripts/ci/proxy.sh nginx|caddy   (after npm run build)
set -euo pipefail
cd "$(dirname "$0")/../.."
readonly proxy=$1 tls=18443 site=llm.example.com
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$work"' EXIT

mkdir "$work/adapters"
key=$(node packages/mos/dist/cli/main.js keys create --name test --append "$work/keys.jsonl" --json | node -p 'JSON.parse(fs.readFileSync(0)).key')
node packages/mos/dist/cli/main.js serve --model assets/tiny-english --adapters "$work/adapters" --api-keys "$work/keys.jsonl" --port 0 --json \
  --quiet >"$work/ready" &
until [ -s "$work/ready" ]; do kill -0 $! && sleep 0.2; done
port=$(grep -o '127.0.0.1:[0-9]*' "$work/ready" | cut -d: -f2)

if [ "$proxy" = nginx ]; then
  openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj "/CN=$site" -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
  sed "s#127.0.0.1:8080#127.0.0.1:$port#; s#443 ssl#$tls ssl#; s#/etc/letsencrypt/.*/fullchain#$work/cert#; s#/etc/letsencrypt/.*/privkey#$work/key#" \
    deploy/nginx.conf >"$work/mos.conf"
  echo "daemon off; pid $work/pid; events {} http { access_log off; include $work/mos.conf; }" >"$work/nginx.conf"
  nginx -t -q -e stderr -c "$work/nginx.conf"
  nginx -e stderr -c "$work/nginx.conf" &
else
  caddy validate --config deploy/Caddyfile --adapter caddyfile >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
  sed "s#127.0.0.1:8080#127.0.0.1:$port#; s#^$site {#{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n}\nhttps://$site:$tls {\n\ttls internal#" \
    deploy/Caddyfile >"$work/Caddyfile"
  XDG_DATA_HOME=$work XDG_CONFIG_HOME=$work caddy run --config "$work/Caddyfile" --adapter caddyfile >"$work/log" 2>&1 &
fi

ask() {
  curl --silent --insecure --no-buffer --retry 20 --retry-delay 1 --retry-all-errors --resolve "$site:$tls:127.0.0.1" \
    --header "Authorization: Bearer $key" --write-out '\n%{http_code}' "https://$site:$tls$1" "${@:2}"
}
model=$(ask /v1/models | grep -o '"id":"[^"]*"' | head -n 1 | cut -d'"' -f4)
stream=$(ask /v1/chat/completions --header "Content-Type: application/json" \
  --data "{\"model\": \"$model\", \"stream\": true, \"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}]}")
[ "$(grep -c '^data: ' <<<"$stream")" -gt 3 ] && grep -q '^data: \[DONE\]' <<<"$stream" && [ "$(tail -n 1 <<<"$stream")" = 200 ]
[ "$(ask /metrics | tail -n 1)" = 404 ]
echo "$proxy: a stream passes, and /metrics does not"
