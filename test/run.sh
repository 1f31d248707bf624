#!/usr/bin/env bash
# Runs webhook and reaper of $BIN on this machine until Ctrl-C: the reaper against
# the current kubeconfig's cluster, without a leader election; the webhook with
# a self-signed certificate. No API server knows that webhook.
set -euo pipefail
tls=$(mktemp -d)
pids=()
finish() {
  kill "${pids[@]}" 2>/dev/null || true
  wait
  rm -rf "$tls"
}
trap finish EXIT
trap 'exit 0' INT TERM
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost -keyout "$tls/tls.key" -out "$tls/tls.crt" 2>/dev/null
"${BIN:?}/essential-containers" webhook --cert-dir="$tls" --dns-name=localhost --bind-address=127.0.0.1:9443 \
  --metrics-bind-address=127.0.0.1:8082 --health-probe-bind-address=127.0.0.1:8083 --zap-encoder=console &
pids+=($!)
"$BIN/essential-containers" reaper --leader-elect=false --metrics-bind-address=127.0.0.1:8080 \
  --health-probe-bind-address=127.0.0.1:8081 --zap-encoder=console &
pids+=($!)
wait -n # one of them ended: so do both
