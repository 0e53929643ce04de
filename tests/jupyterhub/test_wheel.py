"""The wheel, as `pip install hublatch` puts it into the environment of a hub: two names and a file are the installation."""

import os
import signal
import subprocess
import zipfile
from pathlib import Path

import pytest

from browser import Browser
from hub import VENV
from latch import BINARY
from processes import ROOT
from proxied import ProxiedHub
from readme import block

# Word for word what docs/install.md says.
INSTALLED = block("proxy hub").replace("/etc/hublatch", "{folder}") + """
c.HublatchProxy.command = ["hublatch", "chp"]
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from the program under test, which is built already."""
    maturin = ROOT / "target/tools/bin/maturin"
    if not maturin.exists():
        pytest.fail("maturin is missing: tests/install.sh tools")
    if BINARY.parent.parent.name != "target" or BINARY.parent.name not in ("release", "debug"):
        pytest.skip(f"{BINARY} is not what cargo has built")
    folder = tmp_path_factory.mktemp("wheel")
    profile = {"release": "release", "debug": "dev"}[BINARY.parent.name]
    command = [maturin, "build", "--locked", "--profile", profile, "--target-dir", BINARY.parent.parent]
    command += ["--compatibility", "linux", "--out", folder]
    done = subprocess.run(command, cwd=ROOT / "python", capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_it_holds_the_program_the_package_and_the_list_of_what_is_in_it(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {"hublatch/__init__.py", "hublatch/authenticator.py", "hublatch/proxy.py", "hublatch/tljh.py"} <= set(names)
    assert any(name.endswith(".data/scripts/hublatch") for name in names)
    assert any(name.endswith(".cyclonedx.json") for name in names)
    assert not any("__pycache__" in name for name in names)


@pytest.mark.parametrize("version", ["6.1", "5.4", "4.1"])
def test_two_names_and_a_file_are_the_installation(wheel, start_hub, tmp_path, version):
    site = tmp_path / "site"
    pip = [VENV[version] / "bin/python", "-m", "pip", "install", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--no-index", "--target", site, wheel], check=True, capture_output=True)
    env = {"PYTHONPATH": str(site), "PATH": f"{site}/bin:{VENV[version]}/bin:/usr/bin:/bin"}
    proxied = ProxiedHub(start_hub, version, config="c.ConfigurableHTTPProxy.command = []\n" + INSTALLED, env=env)
    try:
        browser = Browser(proxied.url)
        assert browser.open(proxied.link("alice")).path == "/hub/home"
        assert browser.user() == "alice"
        assert Path(f"/proc/{proxied.pid}/exe").resolve() == (site / "bin/hublatch").resolve()
    finally:
        os.kill(proxied.pid, signal.SIGTERM)
