"""compose.yaml on a real engine: the sample application's button ends in JupyterLab, also after restarts."""

import json
import time

import pytest

from engine import ROOT, run

FILE = "docker/compose.yaml"
PORTAL, PUBLIC = "http://127.0.0.1:8002", "http://127.0.0.1:8000"


def press_the_button(engine):
    run(*engine.inside(), "python3", ROOT / "examples/demo_check.py", PORTAL, PUBLIC, timeout=300)


def audit(engine, stack):
    """The events of the audit, in order."""
    lines = engine.logs(f"{stack}-hublatch-1").splitlines()
    events = (json.loads(line) for line in lines if line.startswith("{"))
    return [event["event"] for event in events if "event" in event and "app" in event]


@pytest.fixture(scope="module")
def stack(engine, images):
    """The whole stack, started as the head of compose.yaml says, but of images that are there already."""
    engine.compose(FILE, "up", "--detach", "--no-build", "--pull", "never", "--wait", timeout=600)
    yield images
    engine.compose(FILE, "down", "--volumes", "--timeout", "20")


def test_the_portals_button_ends_in_jupyterlab(engine, stack):
    press_the_button(engine)
    assert audit(engine, stack)[:2] == ["issued", "redeemed"]


def test_hublatch_ends_in_time_and_returns_with_its_keys(engine, stack):
    began = time.monotonic()
    engine.compose(FILE, "stop", "portal", "hublatch")  # the portal lives in hublatch's network, so both
    assert time.monotonic() - began < 15, "longer than compose.yaml's stop_grace_period"
    assert engine.state(f"{stack}-hublatch-1")["ExitCode"] == 0
    engine.compose(FILE, "up", "--detach", "--no-build", "--pull", "never", "--wait", timeout=300)
    press_the_button(engine)


def test_it_runs_without_rights(engine, stack):
    (container,) = json.loads(engine.docker("inspect", f"{stack}-hublatch-1"))
    assert container["Config"]["User"] == "65532:65532"
    assert container["HostConfig"]["ReadonlyRootfs"] is True
    assert container["HostConfig"]["CapDrop"] == ["ALL"]


def test_the_image_says_what_it_is_and_holds_its_licences(engine, images):
    (image,) = json.loads(engine.docker("inspect", f"{images}-hublatch"))
    labels = image["Config"]["Labels"]
    assert labels["org.opencontainers.image.licenses"] == "BSD-3-Clause"
    assert labels["org.opencontainers.image.title"] == "hublatch"
    shown = ["run", "--rm", "--entrypoint", "/bin/cat", f"{images}-hublatch"]
    assert "BSD 3-Clause" in engine.docker(*shown, "/usr/share/doc/hublatch/LICENSE")
    assert "aws-lc-sys" in engine.docker(*shown, "/usr/share/doc/hublatch/THIRD-PARTY-LICENCES")


def test_a_container_may_be_asked_what_it_is_without_a_configuration(engine, images):
    assert engine.docker("run", "--rm", f"{images}-hublatch", "--version").startswith("hublatch ")
