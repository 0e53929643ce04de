#!/usr/bin/env bash
# Base images for a machine whose Docker engine reaches no image registry: made from Debian's packages, and named as the
# Dockerfiles name them, so that these need no change. An image that is there, or that can be pulled, is left as it is.
#
#   docker/images.sh                     debian:bookworm-slim, python:3.11-slim-bookworm, and redis and nginx for
#                                        compose-replicas.yaml
#   docker/images.sh rust                rust:1.95-bookworm as well, with this machine's toolchain, to build the binary in it
#   docker/images.sh --no-pull [rust]    without trying a registry first
#
# Needs: docker (and an engine that it reaches), mmdebstrap, root. They are for tests: images of your own come from the
# registry that you trust.
set -euo pipefail
cd "$(dirname "$0")/.."

suite=bookworm
cache=${IMAGES_CACHE:-target/images}
authorities=/usr/local/share/ca-certificates
docker=${DOCKER:-docker}

main() {
  local pull=1
  if [ "${1:-}" = --no-pull ]; then pull='' && shift; fi
  mkdir -p "$cache"
  provide debian:bookworm-slim base ca-certificates
  provide python:3.11-slim-bookworm python ca-certificates,python3,python3-venv,python3-pip,python-is-python3
  on_debian redis:7.0-bookworm redis-server
  on_debian nginx:1.22-bookworm nginx
  [ "${1:-}" != rust ] || provide_rust
}

# provide NAME FILE PACKAGES
provide() {
  is_there "$1" && return
  step "making $1 from Debian's packages"
  local archive=$cache/$2.tar
  [ -f "$archive" ] || root_file_system "$archive" "$3"
  # What a machine behind a gateway of its own must trust, so that pip and npm work in builds as they do outside.
  "$docker" import \
    --change 'ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt' \
    --change 'ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt' \
    --change 'CMD ["bash"]' "$archive" "$1" >/dev/null
}

# on_debian NAME PACKAGE: a program of Debian's, as the image of that name has it.
on_debian() {
  is_there "$1" && return
  step "making $1 from Debian's package $2"
  # What is installed must not start: Debian Policy § 9.3.3.1.
  printf '%s\n' 'FROM debian:bookworm-slim' \
    "RUN printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d \\" \
    " && apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $2 \\" \
    ' && rm -rf /var/lib/apt/lists' | "$docker" build --quiet --tag "$1" - >/dev/null
}

root_file_system() {
  local archive=$1 packages=$2 hooks=()
  if compgen -G "$authorities/*.crt" >/dev/null; then
    # shellcheck disable=SC2016 # "$1" is mmdebstrap's
    hooks=(--customize-hook="cp $authorities/*.crt \"\$1$authorities/\""
      --customize-hook='chroot "$1" update-ca-certificates >/dev/null 2>&1')
  fi
  mmdebstrap --quiet --format=tar --variant=minbase --include="$packages" "${hooks[@]}" \
    --customize-hook='rm -rf "$1"/usr/share/doc/* "$1"/usr/share/man/*' \
    $suite "$archive.part" "$(sources)"
  mv "$archive.part" "$archive"
}

# This machine's own source of packages, if it is of the same release.
sources() {
  local file
  for file in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
    if [ -s "$file" ] && grep -q "$suite" "$file"; then echo "$file" && return; fi
  done
}

provide_rust() {
  local name=rust:1.95-bookworm folder=$cache/rust
  is_there "$name" && return
  step "making $name with this machine's toolchain"
  local sysroot
  sysroot=$(rustc --print sysroot)
  rm -rf "$folder" && mkdir -p "$folder/toolchain"
  cp -a --reflink=auto "$sysroot/bin" "$sysroot/lib" "$folder/toolchain/"
  [ -f "$cache/build.tar" ] || root_file_system "$cache/build.tar" ca-certificates,gcc,libc6-dev,make
  "$docker" import "$cache/build.tar" hublatch-build-base >/dev/null
  printf '%s\n' 'FROM hublatch-build-base' 'COPY toolchain /usr/local/' 'ENV CARGO_HOME=/usr/local/cargo' \
    'ENV CARGO_HTTP_CAINFO=/etc/ssl/certs/ca-certificates.crt' >"$folder/Dockerfile"
  "$docker" build --quiet --tag "$name" "$folder" >/dev/null
  rm -rf "$folder"
}

is_there() {
  "$docker" image inspect "$1" >/dev/null 2>&1 && return
  [ -n "$pull" ] && timeout 60 "$docker" pull --quiet "$1" >/dev/null 2>&1
}

step() { printf '%s\n' "==> $1"; }

main "$@"
