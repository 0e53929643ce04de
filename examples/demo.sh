#!/usr/bin/env bash
# A real JupyterHub with hublatch as its own proxy, and the sample app, on this machine: no Node, no second proxy.
#
#   examples/demo.sh           starts all of it, prints the URL to open, and ends all of it on Ctrl-C
#   examples/demo.sh --check   starts all of it on free ports, logs a user in through the app as a browser would, ends it
#
# From the environment: DEMO_PORT_PORTAL (8002), DEMO_PORT_PUBLIC (8000), DEMO_PORT_API (8001), DEMO_PORT_HUB (8081, the hub's
# own); PYTHON, the Python to make target/venv with; HUBLATCH_BIN, a hublatch that is built already; DEMO_STATE, a directory
# to make and use instead of target/demo.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
root=$PWD
names=() pids=()

main() {
  case "${1:-}" in
    "") check='' state=target/demo ;;
    --check) check=1 state=target/demo-check ;;
    *) fail "usage: examples/demo.sh [--check]" ;;
  esac
  local binary=${HUBLATCH_BIN:-}
  require_tools
  choose_ports
  require_free_ports
  if [ -z "$binary" ]; then
    step "building hublatch"
    cargo build --release --locked --target-dir target
    binary=$root/target/release/hublatch
  fi
  tests/install.sh hub
  forget_environment
  require_free_ports # building may have taken minutes
  make_state_directory

  trap 'exit 130' INT TERM HUP
  trap stop_all EXIT
  initialise "$binary"
  start_hub
  start_portal
  if [ -n "$check" ]; then
    step "logging in through the app, as a browser would"
    target/venv/bin/python examples/demo_check.py "$portal_url" "$public_url" || show_logs_and_exit
    echo PASS
    exit 0
  fi
  trap 'exit 0' INT TERM HUP # from here on this is how it ends
  printf '\n    Open %s/ and press the button.\n    A tour of what else there is: %s/tour\n' "$portal_url" "$portal_url"
  printf '\n    Ctrl-C ends the demo. Logs: %s\n\n' "$shown/log"
  while true; do
    sleep 0.5
    require_alive
  done
}

# ---- before anything is started ----

require_tools() {
  [ -n "${HUBLATCH_BIN:-}" ] || command -v cargo >/dev/null || fail "cargo is missing: install Rust (https://rustup.rs)"
  [ -n "${HUBLATCH_BIN:-}" ] || command -v cc >/dev/null ||
    fail "cc is missing: install a C compiler (Debian: build-essential)"
  command -v "$python" >/dev/null || fail "$python is missing: install Python 3.10 or later, or set PYTHON"
}

choose_ports() {
  local free=()
  # The check must not meet a demo that is running.
  if [ -n "$check" ]; then
    read -r -a free <<<"$("$python" -c 'import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
print(*(s.getsockname()[1] for s in held))')"
  fi
  port_portal=${DEMO_PORT_PORTAL:-${free[0]:-8002}}
  port_public=${DEMO_PORT_PUBLIC:-${free[1]:-8000}}
  port_api=${DEMO_PORT_API:-${free[2]:-8001}}
  port_hub=${DEMO_PORT_HUB:-${free[3]:-8081}}
  portal_url=http://127.0.0.1:$port_portal
  public_url=http://127.0.0.1:$port_public
}

require_free_ports() {
  "$python" -c 'import os, socket, sys
held = []
for name, port in (argument.split("=") for argument in sys.argv[1:]):
    if not (port.isdecimal() and 0 < int(port) < 65536):
        sys.exit(f"demo.sh: {name} is not a port: {port}")
    try:
        held.append(socket.create_server(("127.0.0.1", int(port))))
    except OSError as error:
        why = os.strerror(error.errno)
        sys.exit(f"demo.sh: port {port} of 127.0.0.1: {why}; end what uses it, or set {name} to another port")
' "DEMO_PORT_PORTAL=$port_portal" "DEMO_PORT_PUBLIC=$port_public" "DEMO_PORT_API=$port_api" \
    "DEMO_PORT_HUB=$port_hub"
}

# Our own directories are made afresh; one that was named may hold anything, so it must be new.
make_state_directory() {
  if [ -n "${DEMO_STATE:-}" ]; then
    state=$DEMO_STATE
    [ ! -e "$state" ] || fail "$state is there already: DEMO_STATE names a directory to be made"
  else
    rm -rf "$state"
  fi
  (umask 077 && mkdir -p "$state/hub" "$state/log")
  state=$(cd "$state" && pwd) shown=${state#"$root"/}
}

# Settings of another hub or of another hublatch (a terminal inside JupyterLab has many) must not reach this one.
forget_environment() {
  unset "${!HUBLATCH_@}" "${!JUPYTERHUB_@}" "${!JUPYTER_@}" "${!CONFIGPROXY_@}" "${!HUB_@}" "${!PORTAL_@}" PYTHONPATH
}

# ---- the two that are started, the first of which starts hublatch ----

initialise() {
  step "writing a configuration and keys into $shown/hublatch"
  "$1" init --proxy --launch --dir "$state/hublatch" --public-url "$public_url" --app-url "$portal_url/" \
    --name "Sample portal" >/dev/null || fail "hublatch init failed"
  # What the tour shows beside: the end of sessions (the app's section is the last one), and a frame.
  cat >>"$state/hublatch/hublatch.toml" <<END
scopes = ["issue", "read", "revoke", "end"]

[embed]
frame_ancestors = ["$portal_url"]
END
  # As in the environment of a hub that has the wheel: the program by its name, and the package.
  mkdir "$state/bin"
  ln -s "$(realpath "$1")" "$state/bin/hublatch"
}

start_hub() {
  step "starting JupyterHub, which starts hublatch"
  start hub env \
    PATH="$state/bin:$root/target/venv/bin:$PATH" \
    PYTHONPATH="$root/python" \
    HUB_STATE_DIR="$state/hub" \
    HUB_BIND_URL="$public_url/" \
    HUB_INTERNAL_URL="http://127.0.0.1:$port_hub" \
    HUB_PROXY_API_URL="http://127.0.0.1:$port_api" \
    HUB_HUBLATCH_CONFIG_FILE="$state/hublatch/hublatch.toml" \
    HUB_HUBLATCH_TOKEN_FILE="$state/hublatch/hub.token" \
    HUBLATCH_HUB__API_URL="http://127.0.0.1:$port_hub/hub/api" \
    target/venv/bin/python -m jupyterhub --config docker/hub/jupyterhub_config.py
  wait_until_answers "$public_url/hub/api/" 120
  wait_until_answers "http://127.0.0.1:$port_api/ready" 30
}

start_portal() {
  step "starting the portal"
  start portal env \
    PORTAL_LISTEN="127.0.0.1:$port_portal" \
    PORTAL_NAME="Sample portal" \
    PORTAL_USER=alice \
    PORTAL_LAUNCH=1 \
    PORTAL_HUB_URL="$public_url" \
    HUBLATCH_API_URL="http://127.0.0.1:$port_api" \
    HUBLATCH_API_KEY_FILE="$state/hublatch/app.key" \
    target/venv/bin/python examples/portal/tour.py
  wait_until_answers "$portal_url/" 30
}

# ---- processes ----

# start NAME COMMAND...: in a process group of its own, so that Ctrl-C reaches this script alone, which then ends them in
# order.
start() {
  names+=("$1")
  set -m
  "${@:2}" >"$state/log/$1.log" 2>&1 </dev/null &
  set +m
  pids+=("$!")
}

wait_until_answers() {
  local url=$1 deadline=$((SECONDS + $2))
  until target/venv/bin/python -c 'import sys, urllib.request as u
u.build_opener(u.ProxyHandler({})).open(sys.argv[1], timeout=3)' "$url" 2>/dev/null; do
    require_alive
    [ "$SECONDS" -lt "$deadline" ] || { echo "demo.sh: no answer from $url in $2 s" >&2; show_logs_and_exit; }
    sleep 0.2
  done
}

require_alive() {
  local i
  for i in "${!pids[@]}"; do
    is_running "${pids[$i]}" && continue
    echo "demo.sh: ${names[$i]} has ended; the end of its log ($shown/log/${names[$i]}.log):" >&2
    tail -n 20 "$state/log/${names[$i]}.log" >&2
    exit 1
  done
}

show_logs_and_exit() {
  local name
  for name in "${names[@]}"; do
    printf -- '--- %s.log ---\n' "$name" >&2
    tail -n 20 "$state/log/$name.log" >&2
  done
  exit 1
}

# Asks each process to end (the hub then ends its servers and its proxy), waits, and ends by force what is left.
stop_all() {
  trap '' INT TERM HUP PIPE
  set +e # nothing may cut this short, not even a terminal that is gone
  [ "${#pids[@]}" -gt 0 ] || return 0
  step "stopping" 2>/dev/null
  local i deadline=$((SECONDS + 20))
  for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
    is_running "${pids[$i]}" && kill -TERM "${pids[$i]}" 2>/dev/null
  done
  for i in "${!pids[@]}"; do
    while is_running "${pids[$i]}" && [ "$SECONDS" -lt "$deadline" ]; do sleep 0.1; done
    kill -KILL -- "-${pids[$i]}" 2>/dev/null || true # the group: users' servers of a hub that crashed are in it
  done
  stop_stray_proxy
}

# The hub starts its proxy in a group of its own. Its pid file is left only if the hub could not end it.
stop_stray_proxy() {
  local pid
  pid=$(cat "$state/hub/proxy.pid" 2>/dev/null) || return 0
  case "$(ps -p "$pid" -o args= 2>/dev/null)" in
    *hublatch*chp*"$port_api"*) kill -KILL "$pid" ;;
  esac
}

is_running() { kill -0 "$1" 2>/dev/null; }

step() { printf '%s\n' "==> $1"; }
fail() { printf '%s\n' "demo.sh: $1" >&2; exit 1; }

main "$@"
