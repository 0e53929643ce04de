#!/usr/bin/env python3
"""Makes a release in target/release-VERSION: `make release`, from a clean tree whose CHANGELOG.md has been cut.

    .ci/release.py cut [DATE]   CHANGELOG.md: what is "Unreleased" becomes the version of Cargo.toml; commit that
    .ci/release.py make         wheel, Debian package, image, clients, licences, SBOM and SHA256SUMS

What it makes depends on the commit alone, and on the compilers: no path, time or chance of this machine is in it, so that two
builds in two folders are the same, byte for byte (`make release-tests`). Nothing is signed and nothing is uploaded: that
needs an identity which this script has not.
"""

import base64
import datetime
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import image  # noqa: E402

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


def normalise(wheel, date):
    """Writes a wheel anew without what differs from one build to the next: chance and paths in the SBOM, times, an order."""
    with zipfile.ZipFile(wheel) as archive:
        files = {info.filename: (info.external_attr, archive.read(info)) for info in archive.infolist() if not info.is_dir()}
    for name, (attributes, data) in files.items():
        if name.endswith(".cyclonedx.json"):
            files[name] = (attributes, plain_bill(data, date))
    (record,) = [name for name in files if name.endswith(".dist-info/RECORD")]
    files.pop(record)
    names = sorted(files, key=lambda name: (".dist-info/" in name, name))
    files[record] = (0, "".join([*(recorded(name, files[name][1]) for name in names), f"{record},,\n"]).encode())
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in [*names, record]:
            info = zipfile.ZipInfo(name, time.gmtime(date)[:6])
            # Unix's rights, whatever the umask was.
            is_program = files[name][0] >> 16 & 0o100
            info.external_attr = (0o100755 if is_program else 0o100644) << 16
            info.create_system, info.compress_type = 3, zipfile.ZIP_DEFLATED
            archive.writestr(info, files[name][1], compresslevel=9)


def plain_bill(data, date):
    """A CycloneDX document without its number, which is chance, and without the folder that it was made in."""
    # A package's name is left out where the folder is called so, too.
    bill = json.loads(re.sub(rb'path\+file://[^"#]*#(hublatch@)?', b"path+file:///hublatch#", data))
    bill.pop("serialNumber", None)
    bill["metadata"]["timestamp"] = image.stamp(date)
    return json.dumps(bill, indent=2).encode()


def recorded(name, data):
    """The line of a file in RECORD."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}\n"


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
    date = int(env["SOURCE_DATE_EPOCH"])
    shutil.rmtree(ROOT / "target/wheels", ignore_errors=True)
    run(env, "make", "wheel")
    (built,) = (ROOT / "target/wheels").glob("hublatch-*.whl")
    wheel = Path(shutil.copy2(built, folder))
    normalise(wheel, date)
    bill_of_materials(wheel, folder)
    with temporary(ROOT / "target/release-files") as files:
        # The program of the wheel runs on glibc 2.17, so the package's does, too.
        run(env, "config/debian/build.sh", unpacked(wheel, files / "program"), folder)
        run(env, "docker/stage.sh", static_program(env), files / "image")
        shutil.copy2(files / "image/usr/share/doc/hublatch/THIRD-PARTY-LICENCES", folder)
        arguments = {"VERSION": number, "REVISION": output("git", "rev-parse", "HEAD").strip()}
        dockerfile, machine = (ROOT / "docker/Dockerfile").read_text(), platform.machine()
        name = f"hublatch-{number}-image-{image.ARCHITECTURES[machine]}.tar.gz"
        made = {"name": f"hublatch:{number}", "date": date, "machine": machine, "arguments": arguments}
        image.write(folder / name, files / "image", dockerfile, **made)
        # Outside of the tree, in which setuptools would leave what it builds.
        client = shutil.copytree(ROOT / "examples/clients/python", files / "client")
        run(env, sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, client)
    for client in folder.glob("hublatch_client-*.whl"):
        normalise(client, date)
    run(env, "npm", "pack", "--pack-destination", folder, "./examples/clients/javascript")
    shutil.copy2(ROOT / "LICENSE", folder)
    checksums(folder)
    print(f"{folder}:")
    print((folder / "SHA256SUMS").read_text(), end="")


def static_program(env):
    """The program for an image without a C library: as docker/Dockerfile builds it, but here."""
    target = output("rustc", "--print", "host-tuple").strip()
    folder = ROOT / "target/static"
    static = {**env, "RUSTFLAGS": f"{env['RUSTFLAGS']} -Ctarget-feature=+crt-static -Cstrip=symbols"}
    run(static, "cargo", "build", "--release", "--locked", "--target", target, "--target-dir", folder)
    return folder / target / "release/hublatch"


@contextmanager
def temporary(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    yield folder
    shutil.rmtree(folder)


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
