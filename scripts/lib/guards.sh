# Routes that keep the cluster's addresses on this machine while tests and measurements run.
# shellcheck shell=bash
set -euo pipefail

# An address of the cluster's networks that no rule catches must not leave this machine: routes that refuse it, for
# tests and measurements. unguard_networks removes those that were not there before.
GUARDS=()
guard_networks() {
  local network
  for network in 10.244.0.0/16 10.96.0.0/16; do
    if ip route add unreachable "$network" 2>/dev/null; then GUARDS+=("$network"); fi
  done
}
unguard_networks() {
  local network
  for network in "${GUARDS[@]}"; do ip route del unreachable "$network" || true; done
}
