#!/bin/sh
# Lays out the files of the image in a folder: docker/stage.sh BINARY FOLDER
#
# The binary, its second name (called so it takes the arguments of configurable-http-proxy), its licence and those of the
# crates that are linked into it, and the certificates of the public authorities as Debian has them: none of this
# machine's own.
set -eu
cd "$(dirname "$0")/.."

binary=$1 folder=$2
licences=$folder/usr/share/doc/hublatch
install -D -m 755 "$binary" "$folder/usr/local/bin/hublatch"
ln -sf hublatch "$folder/usr/local/bin/configurable-http-proxy"
install -d "$folder/etc/ssl/certs"
cat /usr/share/ca-certificates/mozilla/*.crt >"$folder/etc/ssl/certs/ca-certificates.crt"
chmod 644 "$folder/etc/ssl/certs/ca-certificates.crt"
install -D -m 644 LICENSE "$licences/LICENSE"
docker/licences.sh "$licences/THIRD-PARTY-LICENCES"
