#!/usr/bin/env python3
"""Makes a release in target/release-VERSION: `make release`, from a clean tree whose CHANGELOG.md has been cut.

    .ci/release.py cut [DATE]   CHANGELOG.md: what is "Unreleased" becomes the version of Cargo.toml; commit that
    .ci/release.py make         wheel, Debian package, clients, licences, SBOM and SHA256SUMS

Paths of this machine are not in the binary (--remap-path-prefix), so that two builds in two folders are the same. Nothing is
signed and nothing is uploaded: that needs an identity which this script has not.
"""

import datetime
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEADING = "## Unreleased\n"


def version(manifest):
    """The version of the package in the text of a Cargo.toml."""
    return re.search(r'^version = "([^"]+)"', manifest, re.M).group(1)


def cut(changelog, number, date):
    """The text with its unreleased lines under a heading of their own."""
    before, found, after = changelog.partition(HEADING)
    if not found or not after.split("\n## ")[0].strip():
        raise SystemExit("release: CHANGELOG.md has nothing under Unreleased")
    if f"## {number} " in changelog:
        raise SystemExit(f"release: CHANGELOG.md has a heading for {number} already")
    return f"{before}{HEADING}\n## {number} - {date}\n{after}"


def environment(inherited, root):
    """How cargo is called: nothing of this machine's folders may be in what it makes."""
    home = Path(inherited.get("CARGO_HOME") or Path(inherited["HOME"]) / ".cargo")
    # The last prefix that fits counts: the more exact one comes last.
    remapped = [f"--remap-path-prefix={home}=/cargo", f"--remap-path-prefix={root}=/hublatch"]
    flags = " ".join([*inherited.get("RUSTFLAGS", "").split(), *remapped])
    # For the C of aws-lc and mimalloc.
    c_flags = f"{inherited.get('CFLAGS', '')} -ffile-prefix-map={home}=/cargo -ffile-prefix-map={root}=/hublatch".strip()
    date = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=root, check=True, capture_output=True, text=True)
    return {**inherited, "RUSTFLAGS": flags, "CFLAGS": c_flags, "SOURCE_DATE_EPOCH": date.stdout.strip()}


def bill_of_materials(wheel, folder):
    """The CycloneDX documents that maturin has put into a wheel, as files of their own."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/sboms/" in name and name.endswith(".json")]
        for name in names:
            (folder / Path(name).name).write_bytes(archive.read(name))
    if not names:
        raise SystemExit(f"release: {wheel.name} has no SBOM")
    return names


def checksums(folder):
    """SHA256SUMS over every file of a folder, as `sha256sum --check` reads it."""
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (folder / "SHA256SUMS").write_text("".join(lines))


def unfit(changelog, number, status):
    """Why this tree is not to be released; empty if it is."""
    if status.strip():
        return "the tree has changes that are not committed"
    if f"\n## {number} - " not in changelog:
        return f"CHANGELOG.md has no heading for {number}: run .ci/release.py cut, and commit"
    return ""


def make():
    number = version((ROOT / "Cargo.toml").read_text())
    status = output("git", "status", "--porcelain", "--untracked-files=no")
    why = unfit((ROOT / "CHANGELOG.md").read_text(), number, status)
    if why:
        raise SystemExit(f"release: {why}")
    folder = ROOT / f"target/release-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    env = environment(os.environ, ROOT)
    shutil.rmtree(ROOT / "target/wheels", ignore_errors=True)
    run(env, "make", "wheel")
    (wheel,) = (ROOT / "target/wheels").glob("hublatch-*.whl")
    shutil.copy2(wheel, folder)
    bill_of_materials(wheel, folder)
    # The program of the wheel runs on glibc 2.17, so the package's does, too.
    program = unpacked(wheel, folder / "program")
    run(env, "config/debian/build.sh", program, folder)
    run(env, "docker/stage.sh", program, folder / "stage")
    shutil.copy2(folder / "stage/usr/share/doc/hublatch/THIRD-PARTY-LICENCES", folder)
    for temporary in ("stage", "program"):
        shutil.rmtree(folder / temporary)
    shutil.copy2(ROOT / "LICENSE", folder)
    run(env, sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, "examples/clients/python")
    run(env, "npm", "pack", "--pack-destination", folder, "./examples/clients/javascript")
    checksums(folder)
    print(f"{folder}:")
    print((folder / "SHA256SUMS").read_text(), end="")


def unpacked(wheel, folder):
    """The program in a wheel, as a file that can be run."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".data/scripts/hublatch")]
        folder.mkdir()
        program = folder / "hublatch"
        program.write_bytes(archive.read(name))
    program.chmod(0o755)
    return program


def run(env, *command):
    subprocess.run([str(part) for part in command], cwd=ROOT, env=env, check=True)


def output(*command):
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def main(arguments):
    if arguments[:1] == ["cut"]:
        date = arguments[1] if arguments[1:] else datetime.datetime.now(datetime.timezone.utc).date().isoformat()
        changelog = ROOT / "CHANGELOG.md"
        changelog.write_text(cut(changelog.read_text(), version((ROOT / "Cargo.toml").read_text()), date))
    elif arguments == ["make"]:
        make()
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
