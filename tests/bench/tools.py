"""What a measurement needs from the machine: programs, the load and origin built, a certificate, a description."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent

def fail(message):
    sys.exit(f"bench: {message}")


def path(program):
    """Where it is; daemons are not in everybody's PATH."""
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def install(what):
    """Whatever of it is missing, as `tests/install.sh` does."""
    subprocess.run([ROOT / "tests/install.sh", what], check=True, stdout=sys.stderr)


def hublatch(binary):
    """The binary to measure; the default one is built if it is missing."""
    default = ROOT / "target/release/hublatch"
    if binary is None and not default.exists():
        print("==> building hublatch", file=sys.stderr)
        quiet(["cargo", "build", "--release", "--locked"], cwd=ROOT)
    binary = Path(binary or default).resolve()
    if not binary.exists():
        fail(f"{binary} does not exist")
    return binary


def built(folder, name):
    """`name`.c, compiled into `folder`."""
    source, target = HERE / f"{name}.c", Path(folder) / f"{name}.bin"
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        quiet([path("cc"), "-O2", "-Wall", "-o", target, source])
    return target


def certificate(folder):
    """A self-signed P-256 certificate, the same for every proxy."""
    home = Path(folder) / "tls"
    home.mkdir(parents=True, exist_ok=True)
    cert, key = home / "certificate.pem", home / "key.pem"
    quiet([path("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
           "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2", "-keyout", key, "-out", cert])
    key.chmod(0o600)
    (home / "both.pem").write_text(cert.read_text() + key.read_text())


def quiet(command, **options):
    done = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        fail(f"this failed: {' '.join(map(str, command))}")
    return done.stdout


def first_line(command):
    program, *rest = command
    done = subprocess.run([path(program) or program, *rest], capture_output=True, text=True)
    return (done.stdout + done.stderr).strip().splitlines()[0]


def machine():
    """One line on what was measured on."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.lower().startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    release = "Linux"
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("PRETTY_NAME="):
            release = line.partition("=")[2].strip('"')
    return f"{model}, {os.cpu_count()} cores, {release}, Linux {os.uname().release.partition('-')[0]}"


def load_average():
    return float(Path("/proc/loadavg").read_text().split()[0])
