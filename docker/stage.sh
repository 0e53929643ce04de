#!/bin/sh
# Lays out the files of the image in a folder: docker/stage.sh BINARY FOLDER
#
# The binary, its second name (called so it takes the arguments of configurable-http-proxy), its licence and those of the
# crates that are linked into it, and the certificates of the public authorities that this machine has.
set -eu
cd "$(dirname "$0")/.."

binary=$1 folder=$2
licences=$folder/usr/share/doc/hublatch
install -D -m 755 "$binary" "$folder/usr/local/bin/hublatch"
ln -sf hublatch "$folder/usr/local/bin/configurable-http-proxy"
install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$folder/etc/ssl/certs/ca-certificates.crt"
install -D -m 644 LICENSE "$licences/LICENSE"

# One heading and all licence texts for each crate: its own folder has them, beside its source.
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
  done >"$licences/THIRD-PARTY-LICENCES"
