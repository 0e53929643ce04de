"""compose.yaml and compose-proxy.yaml on a real engine: the sample application's button ends in JupyterLab, also after
restarts."""

import json
import time

import pytest

from engine import ROOT, run

FRONT, PROXY = "docker/compose.yaml", "docker/compose-proxy.yaml"
NAMES = {FRONT: "hublatch-demo", PROXY: "hublatch-proxy-demo"}
PORTAL, PUBLIC = "http://127.0.0.1:8002", "http://127.0.0.1:8000"


def press_the_button(engine):
    run(*engine.inside(), "python3", ROOT / "examples/demo_check.py", PORTAL, PUBLIC, timeout=300)


def audit(engine, stack):
    """The events of the audit, in order."""
    lines = engine.logs(stack.container("hublatch")).splitlines()
    events = (json.loads(line) for line in lines if line.startswith("{"))
    return [event["event"] for event in events if "event" in event and "app" in event]


@pytest.fixture(scope="module", params=[FRONT, PROXY])
def stack(request, engine, images):
    """The whole stack, started as the head of its file says, but of images that are there already."""
    stack = Stack(engine, request.param)
    stack.began = time.monotonic()
    stack.up()
    yield stack
    engine.compose(request.param, "down", "--volumes", "--timeout", "20")


class Stack:
    def __init__(self, engine, file):
        self.engine, self.file = engine, file

    def up(self):
        self.compose("up", "--detach", "--no-build", "--pull", "never", "--wait", timeout=600)

    def compose(self, *arguments, **options):
        return self.engine.compose(self.file, *arguments, **options)

    def container(self, service):
        return f"{NAMES[self.file]}-{service}-1"


def test_the_portals_button_ends_in_jupyterlab_three_minutes_after_up(engine, stack):
    press_the_button(engine)
    took = time.monotonic() - stack.began
    print(f"{stack.file}: {took:.0f} s from up to JupyterLab")
    assert took < 180, f"{took:.0f} s"
    assert audit(engine, stack)[:2] == ["issued", "redeemed"]


def test_hublatch_ends_in_time_and_returns_with_its_keys(engine, stack):
    stack.compose("stop", "portal", "hublatch")  # the portal lives in hublatch's network, so both
    # Whoever takes longer than stop_grace_period is killed, which is 137.
    assert engine.state(stack.container("hublatch"))["ExitCode"] == 0
    stack.up()
    press_the_button(engine)


def test_a_restart_of_hublatch_alone_takes_along_what_shares_its_network(engine, stack):
    stack.compose("restart", "hublatch")
    asks = ["curl", "--silent", "--retry", "60", "--retry-delay", "1", "--retry-all-errors", "--fail", "--output", "/dev/null"]
    for url in (PORTAL, f"{PUBLIC}/hub/api/"):
        run(*engine.inside(), *asks, url)
    press_the_button(engine)


def test_it_runs_without_rights(engine, stack):
    (container,) = json.loads(engine.docker("inspect", stack.container("hublatch")))
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
