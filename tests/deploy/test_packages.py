"""The Debian package and the systemd units."""

import shutil
import subprocess

import pytest

from engine import ROOT, binary, run

UNIT = ROOT / "config/systemd/hublatch.service"


def contents(package):
    """Modes, owners and names of what is installed."""
    lines = run("dpkg-deb", "--contents", package).splitlines()
    return {line.split()[5].removeprefix("."): (line.split()[0], line.split()[1]) for line in lines}


def test_what_stands_where(package):
    files = contents(package)
    assert files["/usr/bin/hublatch"] == ("-rwxr-xr-x", "root/root")
    for name in ("hublatch.service", "hublatch.socket"):
        assert files[f"/usr/lib/systemd/system/{name}"] == ("-rw-r--r--", "root/root")
    for name in ("copyright", "third-party-licences.gz", "examples/reference.toml", "examples/hublatch_authenticator.py"):
        assert f"/usr/share/doc/hublatch/{name}" in files
    assert not [name for name in files if name.startswith("/etc/")], "keys are made by init, not shipped"


def test_the_unit_of_the_package_names_its_binary_and_waits_for_a_configuration(package, tmp_path):
    run("dpkg-deb", "--extract", package, tmp_path)
    unit = (tmp_path / "usr/lib/systemd/system/hublatch.service").read_text()
    assert "ExecStart=/usr/bin/hublatch serve" in unit and "/usr/local" not in unit
    assert "ConditionPathExists=/etc/hublatch/hublatch.toml" in unit.split("[Service]")[0]


def test_lintian_finds_no_error(package):
    ran = subprocess.run(["lintian", "--allow-root", package], capture_output=True, text=True)
    assert not [line for line in ran.stdout.splitlines() if line.startswith("E:")], ran.stdout


def test_of_one_binary_the_package_is_always_the_same(package, tmp_path):
    run(ROOT / "config/debian/build.sh", binary(), tmp_path)
    assert (tmp_path / package.name).read_bytes() == package.read_bytes()


def test_an_update_restarts_the_service_and_never_the_socket():
    script = (ROOT / "config/debian/postinst").read_text()
    (line,) = [line for line in script.splitlines() if "try-restart" in line]
    assert "hublatch.service" in line and "socket" not in line


def test_it_installs_and_leaves_keys_behind(package, engine, images, tmp_path):
    shutil.copy(package, tmp_path / "hublatch.deb")
    script = """set -e
dpkg -i /deb/hublatch.deb
getent passwd hublatch
stat -c '%a %U %G' /etc/hublatch
hublatch init --dir /tmp/new --public-url http://127.0.0.1:8000 --hub-url http://127.0.0.1:8400 >/dev/null
cp /tmp/new/* /etc/hublatch/
hublatch check --config /etc/hublatch/hublatch.toml
dpkg -i /deb/hublatch.deb
dpkg --purge hublatch
test ! -e /usr/bin/hublatch && ls /etc/hublatch
"""
    arguments = ["run", "--rm", "--network", "none", "--volume", f"{tmp_path}:/deb:ro", "debian:bookworm-slim"]
    said = engine.docker(*arguments, "sh", "-c", script)
    assert "/nonexistent:/usr/sbin/nologin" in said
    assert "750 root hublatch" in said
    assert said.rstrip().endswith("hublatch_authenticator.py"), said


@pytest.mark.parametrize("unit", ["hublatch.service", "hublatch.socket"])
def test_systemd_reads_the_units_without_a_word(unit, tmp_path):
    for name in ("hublatch.service", "hublatch.socket"):
        text = (ROOT / "config/systemd" / name).read_text()
        (tmp_path / name).write_text(text.replace("/usr/local/bin/hublatch", "/bin/true"))
    ran = subprocess.run(["systemd-analyze", "verify", tmp_path / unit], capture_output=True, text=True)
    assert ran.returncode == 0 and not ran.stderr, ran.stderr


def test_the_service_is_hardened():
    ran = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", UNIT], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout[-500:]


def test_it_is_tried_again_however_often_it_fails_but_not_with_a_bad_configuration():
    unit = UNIT.read_text()
    for line in ("Restart=on-failure", "RestartSec=2s", "StartLimitIntervalSec=0", "RestartPreventExitStatus=78"):
        assert f"\n{line}\n" in unit
    assert "redis-server.service" in unit
