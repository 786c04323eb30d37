# Shared by the scripts: where things are, how a package gets installed, how Docker Engine gets started.
# shellcheck shell=bash
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
DATA_DIR=${COXSWAIN_DATA_DIR:-/var/lib/coxswain}
REGISTRY_PORT=${COXSWAIN_REGISTRY_PORT:-5000}
export ROOT DATA_DIR REGISTRY_PORT

say() { printf '==> %s\n' "$*" >&2; }

as_root() { [ "$(id -u)" = 0 ] || { say "this needs root: run it with sudo"; exit 1; }; }

# Installs the Debian packages that are missing.
need_packages() {
  local missing=()
  for package in "$@"; do
    dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return
  say "installing ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# A kubectl, whichever is here; Debian's where there is none.
need_kubectl() { command -v kubectl >/dev/null || need_packages kubernetes-client; }

# A Rust toolchain: rust-toolchain.toml says which, rustup brings it.
need_rust() {
  # shellcheck source=/dev/null
  if [ -f "$HOME/.cargo/env" ]; then . "$HOME/.cargo/env"; fi
  command -v cargo >/dev/null && return
  need_packages curl ca-certificates gcc libc6-dev
  curl --proto '=https' --tlsv1.2 -fsS https://sh.rustup.rs | sh -s -- -y --profile minimal --default-toolchain none
  # shellcheck source=/dev/null
  . "$HOME/.cargo/env"
}

# Runs "$@" until it succeeds, at most 30 seconds.
within_30s() {
  # With its status: a bare return in a trap gives that of what failed before, and would end the cleaning up.
  for _ in $(seq 150); do "$@" >/dev/null 2>&1 && return 0; sleep 0.2; done
  say "gave up waiting for: $*"
  return 1
}

# Starts Docker Engine where it is installed but not running; what this started, stop_docker stops.
need_docker() {
  command -v dockerd >/dev/null || need_packages docker.io
  docker info >/dev/null 2>&1 && return
  say "starting Docker Engine"
  if [ -d /run/systemd/system ]; then
    systemctl start docker
  else
    mkdir -p "$DATA_DIR/run" "$DATA_DIR/log"
    setsid dockerd >"$DATA_DIR/log/dockerd.log" 2>&1 </dev/null &
    echo $! >"$DATA_DIR/run/dockerd.pid"
  fi
  within_30s docker info
}

# Ends the process whose id is in the file $1 and waits for it; $2 is the name it must have.
stop_pid_file() {
  local pid
  [ -f "$1" ] || return 0
  pid=$(cat "$1")
  if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$2" ]; then
    kill "$pid"
    within_30s test ! -d "/proc/$pid"
  fi
  rm -f "$1"
}
