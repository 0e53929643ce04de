"""`hublatch doctor` on real hubs: a sound one, one that believes a bare header, and one that is down."""

import json
import os
import signal
import subprocess

import pytest

from latch import BINARY
from processes import PATIENCE, free_port
from test_header_authenticators import AUTHENTICATORS


@pytest.fixture(scope="module")
def start_latch(start_hublatch):
    """hublatch with a management port that the doctor can find in the configuration."""

    def start(hub, changes=None):
        management = {"management": {"listen": f"127.0.0.1:{free_port()}"}}
        return start_hublatch(hub, {**management, **(changes or {})})

    return start


@pytest.fixture(scope="module")
def sound(hub, start_latch):
    return start_latch(hub)


def doctor(latch, *words, key=True):
    """Exit code and findings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HUBLATCH_")}
    if key:
        environment["HUBLATCH_API_KEY"] = latch.key
    command = [BINARY, "doctor", "--config", latch.folder / "hublatch.toml", "--json", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def of_hub_url(outcome):
    """The finding about a hub that does not answer."""
    code, findings = outcome
    assert code == 1
    return next(f for f in findings if f["grade"] == "failed" and "hub.url" in f["tried"])


def graded(findings, grade):
    return [finding["tried"] for finding in findings if finding["grade"] == grade]


def test_a_sound_deployment_is_found_sound(hub, sound):
    code, findings = doctor(sound, "--user", "doctor", "--public-key", hub.public_key_file)
    assert code == 0, findings
    assert graded(findings, "unsafe") == graded(findings, "failed") == []
    fine = " ".join(graded(findings, "ok"))
    for tried in ["hub.url", "clock", "bare identity header straight", "API token", "another key", "public.url",
                  "WebSocket", "login by a link for doctor", "the same link once more", "the logout of doctor", "/ready",
                  "key pair"]:
        assert tried in fine, tried
    assert any("HublatchAuthenticator" in finding["happened"] for finding in findings)
    # What it tried created nobody but the user whom it was told to log in, and it logged her out again.
    assert not [user["name"] for user in hub.api("GET", "/users") if user["name"].startswith("hublatch-doctor")]
    assert hub.has_user("doctor")
    assert hub.api("GET", "/users/doctor/tokens")["api_tokens"] == []


def test_without_a_user_nobody_is_logged_in_and_that_is_said(hub, sound):
    before = hub.api("GET", "/users")
    code, findings = doctor(sound, key=False)
    assert code == 0
    assert "a login by a link" in graded(findings, "skipped")
    names = [user["name"] for user in hub.api("GET", "/users")]
    assert names == [user["name"] for user in before]


@pytest.mark.parametrize("name", AUTHENTICATORS)
def test_a_hub_that_believes_a_bare_header_is_unsafe(name, start_hub, start_latch):
    authenticator, header = AUTHENTICATORS[name]
    hub = start_hub(authenticator=authenticator)
    latch = start_latch(hub, {"assertion": None, "login": {"user_header": header}})
    code, findings = doctor(latch)
    assert code == 1
    [spoofed] = [finding for finding in findings if finding["grade"] == "unsafe"]
    assert "GET /hub/login as hublatch-doctor-" in spoofed["tried"]
    assert f"{header} logged hublatch-doctor-" in spoofed["happened"]
    assert "HublatchAuthenticator" in spoofed["change"]
    assert "an identity header through public.url" in graded(findings, "ok")
    latch.stop()
    hub.kill()


def test_an_allow_list_does_not_hide_that_the_header_is_believed(start_hub, start_latch):
    authenticator = """
from jupyterhub.auth import Authenticator
class Bare(Authenticator):
    auto_login = True
    async def authenticate(self, handler, data=None):
        return handler.request.headers.get("REMOTE_USER")
c.JupyterHub.authenticator_class = Bare
c.Authenticator.allowed_users = {{"alice"}}
"""
    hub = start_hub(authenticator=authenticator)
    latch = start_latch(hub, {"assertion": None})
    _, findings = doctor(latch)
    [warned] = [f for f in findings if f["grade"] == "warn" and "bare identity header straight" in f["tried"]]
    assert "--user" in warned["change"]
    code, findings = doctor(latch, "--user", "alice")
    happened = " ".join(finding["happened"] for finding in findings if finding["grade"] == "unsafe")
    assert code == 1
    assert "logged alice in" in happened
    latch.stop()
    hub.kill()


def test_a_hub_in_api_only_mode_without_the_routes_of_a_login_is_told_of(start_hub, start_latch):
    hub = start_hub(extra='c.JupyterHub.hub_routespec = "/hub/api/"\n')
    latch = start_latch(hub)
    code, findings = doctor(latch)
    assert code == 1
    assert {"the route of /hub/login", "the route of /hub/logout"} <= {*graded(findings, "failed")}
    assert "extra_routes" in next(f["change"] for f in findings if f["tried"] == "the route of /hub/login")
    # The hub is gone, and its public proxy answers for it.
    os.kill(hub.process.pid, signal.SIGKILL)
    hub.process.wait(60)
    assert "it does not run behind this proxy" in of_hub_url(doctor(latch))["change"]
    hub.kill()
    assert "its public proxy's address" in of_hub_url(doctor(latch))["change"]
    latch.stop()
