#!/bin/sh
# Makes the Debian package of a binary: config/debian/build.sh BINARY FOLDER
#
# FOLDER/hublatch_VERSION_ARCH.deb. Needs dpkg-deb, binutils and, for the licences, the sources of the crates (cargo). The
# binary must run here: it writes its manual page. One that is to run on older releases than this machine's is a static
# one, or is built against their glibc.
set -eu
cd "$(dirname "$0")/../.."

binary=$1 folder=$2
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
architecture=$(dpkg --print-architecture)
# Of one binary the package is always the same, byte for byte: all that has a time has that of the commit.
date=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"

install -D -m 755 "$binary" "$root/usr/bin/hublatch"
strip --strip-unneeded "$root/usr/bin/hublatch"
# Units of a package stand in /usr/lib, its binary in /usr/bin; and without a configuration there is nothing to start.
install -d "$root/usr/lib/systemd/system"
sed -e 's,/usr/local/bin/hublatch,/usr/bin/hublatch,' \
  -e 's,^\[Service\],ConditionPathExists=/etc/hublatch/hublatch.toml\n\n&,' \
  -e '/^#   \(useradd\|install\|cp\) /d' config/systemd/hublatch.service >"$root/usr/lib/systemd/system/hublatch.service"
install -m 644 config/systemd/hublatch.socket "$root/usr/lib/systemd/system/"
chmod 644 "$root/usr/lib/systemd/system/hublatch.service"
install -D -m 644 config/debian/hublatch.sysusers "$root/usr/lib/sysusers.d/hublatch.conf"

install -d "$root/usr/share/man/man1" "$root/usr/share/bash-completion/completions" "$root/usr/share/zsh/vendor-completions" \
  "$root/usr/share/fish/vendor_completions.d"
program=$root/usr/bin/hublatch
"$program" generate man | gzip -9n >"$root/usr/share/man/man1/hublatch.1.gz"
"$program" generate bash >"$root/usr/share/bash-completion/completions/hublatch"
"$program" generate zsh >"$root/usr/share/zsh/vendor-completions/_hublatch"
"$program" generate fish >"$root/usr/share/fish/vendor_completions.d/hublatch.fish"

documents=$root/usr/share/doc/hublatch
install -d "$documents/examples"
install -m 644 config/reference.toml config/minimal.toml config/nginx/hublatch.conf python/hublatch/authenticator.py \
  "$documents/examples/"
mv "$documents/examples/authenticator.py" "$documents/examples/hublatch_authenticator.py"
install -m 644 config/debian/copyright "$documents/copyright"
docker/licences.sh "$root/licences"
gzip -9n <"$root/licences" >"$documents/third-party-licences.gz"
rm "$root/licences"
gzip -9n <CHANGELOG.md >"$documents/changelog.gz"
printf 'hublatch (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- %s  %s\n' "$version" \
  'hublatch maintainers <maintainers@hublatch.invalid>' "$(LC_ALL=C date -uR -d "@$date")" \
  | gzip -9n >"$documents/changelog.Debian.gz"
chmod 644 "$documents"/*.gz

install -d "$root/DEBIAN"
for script in postinst prerm postrm; do install -m 755 "config/debian/$script" "$root/DEBIAN/$script"; done
libc=$(objdump -T "$binary" 2>/dev/null | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -1 | cut -d_ -f2)
depends=$([ -z "$libc" ] || echo "libc6 (>= $libc), libgcc-s1, ")ca-certificates
size=$(du -sk --apparent-size --exclude=DEBIAN "$root" | cut -f1)
sed -e "s/@VERSION@/$version/; s/@ARCHITECTURE@/$architecture/; s/@DEPENDS@/$depends/; s/@SIZE@/$size/" \
  config/debian/control >"$root/DEBIAN/control"
(cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
mkdir -p "$folder"
chmod -R go=rX "$root"
find "$root" -exec touch -h -d "@$date" {} +
SOURCE_DATE_EPOCH=$date dpkg-deb --root-owner-group --build "$root" "$folder/hublatch_${version}_$architecture.deb"
