"""The wheel of `make wheel`, as it would be uploaded: installed by pip into new environments of three hubs."""

import re
import sys
import time
import urllib.request
import zipfile

import pytest

from engine import ROOT, only, run

sys.path.insert(0, str(ROOT / "tests/jupyterhub"))
sys.path.insert(0, str(ROOT / "examples"))
import demo_check  # noqa: E402
from processes import Process, free_port, wait_until  # noqa: E402
from readme import block  # noqa: E402

pytestmark = pytest.mark.weekly

# From `pip install` to JupyterLab. These are seconds of a clock, so this test wants a machine that does nothing else; it is
# run once a week, and is no part of `make test`.
SECONDS_MAX = 60

# What a test needs beside the three lines: ports of its own, and a spawner that needs no users of this machine.
OF_THE_TEST = """
c.JupyterHub.bind_url = "http://127.0.0.1:{public}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api}"
c.JupyterHub.spawner_class = "simple"
c.Spawner.args = ["--allow-root"]
"""


@pytest.fixture(scope="module")
def wheel():
    return only(ROOT / "target/wheels", "hublatch-*.whl")


def test_it_is_for_any_linux_with_glibc_2_17(wheel, tmp_path):
    assert "manylinux2014" in wheel.name and "-py3-none-" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".data/scripts/hublatch")]
        program = archive.extract(name, tmp_path)
    wanted = re.findall(r"GLIBC_(\d+)\.(\d+)", run("readelf", "--version-info", "--wide", program))
    assert wanted and max((int(major), int(minor)) for major, minor in wanted) <= (2, 17)


def test_it_holds_all_that_a_hub_needs_and_every_licence(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = [name.removesuffix("METADATA") for name in names if name.endswith(".dist-info/METADATA")]
        entry_points = archive.read(f"{metadata}entry_points.txt").decode()
        licences = archive.read(f"{metadata}licenses/THIRD-PARTY-LICENCES").decode()
        assert "BSD 3-Clause" in archive.read(f"{metadata}licenses/LICENSE").decode()
    assert {"hublatch/__init__.py", "hublatch/authenticator.py", "hublatch/proxy.py", "hublatch/tljh.py"} <= set(names)
    for group in ("jupyterhub.authenticators", "jupyterhub.proxies", "tljh"):
        assert f"[{group}]" in entry_points
    assert "======== aws-lc-sys" in licences and "Apache License" in licences
    assert f"{metadata}sboms/hublatch.cyclonedx.json" in names


@pytest.mark.parametrize("version", ["4.1.6", "5.5.4", "6.1.1"])
def test_pip_install_and_three_lines_end_in_jupyterlab_within_a_minute(wheel, tmp_path, version):
    environment = tmp_path / "hub"
    run(sys.executable, "-m", "venv", environment)
    pip = [environment / "bin/python", "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
    run(*pip, f"jupyterhub=={version}", "jupyterlab==4.6.6", timeout=900)

    began = time.monotonic()
    run(*pip, wheel)
    public, api = free_port(), free_port()
    folder, url = tmp_path / "etc", f"http://127.0.0.1:{public}"
    run(environment / "bin/hublatch", "init", "--proxy", "--dir", folder, "--public-url", url)
    lines = block("proxy hub").replace("/etc/hublatch", str(folder))
    config = tmp_path / "jupyterhub_config.py"
    config.write_text(lines + OF_THE_TEST.format(public=public, hub=free_port(), api=api))
    env = {"PATH": f"{environment}/bin:/usr/bin:/bin", "HOME": str(tmp_path)}
    hub = Process("hub", tmp_path, [environment / "bin/jupyterhub", "--config", config], env)
    try:
        wait_until(lambda: is_up(url), SECONDS_MAX, "the hub")
        env = {"HUBLATCH_API_URL": f"http://127.0.0.1:{api}", "HUBLATCH_API_KEY_FILE": str(folder / "app.key")}
        link = run(environment / "bin/hublatch", "link", "alice", "--path", "lab", env=env).strip()
        status, at, text = demo_check.follow(link, "cross-site")
        took = time.monotonic() - began
        assert (status, at.partition("?")[0]) == (200, f"{url}/user/alice/lab"), text[:500]
        assert took < SECONDS_MAX, f"{took:.0f} s"
        print(f"JupyterHub {version}: {took:.1f} s from pip install to JupyterLab")
    except BaseException:
        print(hub.log[-4000:])
        raise
    finally:
        hub.stop()


def is_up(url):
    """Whether the hub has told its proxy where it is."""
    try:
        with urllib.request.urlopen(f"{url}/hub/api/", timeout=10) as answer:
            return answer.status == 200
    except OSError:
        return False
