#!/bin/sh
# Writes the licences of all crates that are linked into the binary: docker/licences.sh FILE
#
# One heading and all licence texts for each crate: its own folder has them, beside its source (cargo).
set -eu
cd "$(dirname "$0")/.."

file=$1
registry=${CARGO_HOME:-$HOME/.cargo}/registry/src
cargo tree --locked --edges normal --prefix none --format '{p}|{l}' | sort -u |
  while IFS='|' read -r package licence; do
    name=${package%% *} rest=${package#* v}
    version=${rest%% *}
    [ "$name" != hublatch ] || continue
    printf '\n======== %s %s (%s)\n' "$name" "$version" "$licence"
    find "$registry"/*/"$name-$version" -maxdepth 2 -type f \
      \( -iname 'licen[sc]e*' -o -iname 'copying*' -o -iname 'notice*' -o -iname 'unlicense*' \) \
      | sort | while read -r text; do printf '\n-------- %s\n' "${text##*/}"; cat "$text"; done
  done >"$file"
