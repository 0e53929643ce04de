"""JupyterHub's own forced-login example, unchanged: its application with hublatch before the hub, and its authenticator
with hublatch in the place of its application."""

import sys

import pytest
from playwright.sync_api import expect

from browser import Browser
from chromium import PATIENCE, launcher
from processes import ROOT, Process, free_port, wait_until
from test_real_browser import chromium, page  # noqa: F401

EXAMPLE = ROOT / "target/forced-login"
# Its own `main` has its port written down.
RUN = "import sys, uvicorn; sys.path.insert(0, sys.argv[1]); from external_app import app; uvicorn.run(app, port=int(sys.argv[2]))"


@pytest.fixture(scope="module")
def example():
    assert (EXAMPLE / "external_app.py").exists(), f"{EXAMPLE} is missing: run tests/install.sh tests"
    return EXAMPLE


@pytest.fixture(scope="module")
def before_its_application(example, hub, start_hublatch, tmp_path_factory):
    """Its application, and a hublatch that exchanges the application's tokens there."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    latch = start_hublatch(hub, {"apps": [{"name": "example", "exchange_url": f"{url}/login"}]})
    command = [sys.executable, "-c", RUN, example, port]
    process = Process("example", tmp_path_factory.mktemp("example"), command, {"JUPYTERHUB_URL": f"{latch.url}/"})
    wait_until(lambda: "Uvicorn running" in process.log, 180, "the example to listen")
    yield latch, url
    process.stop()


def test_its_application_opens_a_notebook_through_hublatch(before_its_application, page):  # noqa: F811
    latch, url = before_its_application
    page.goto(url)
    page.locator("input[name=username]").fill("wanda")
    page.get_by_role("button", name="Login").click()
    expect(launcher(page)).to_be_visible(timeout=PATIENCE)
    assert page.url.startswith(f"{latch.url}/user/wanda/lab")


def test_a_token_of_its_application_works_once(before_its_application):
    latch, url = before_its_application
    browser = latch.browser()
    body, headers = b"username=xaver&path=/lab", {"Content-Type": "application/x-www-form-urlencoded"}
    link = browser.request("POST", url + "/", body, headers).location
    assert link.startswith(f"{latch.url}/hub/login?login_token=")
    answer = browser.request("GET", link)
    assert (answer.status, answer.location) == (302, "/hub/user-redirect/lab")
    assert browser.user() == "xaver"
    assert latch.browser().open(link).status == 403


@pytest.fixture(scope="module")
def with_its_authenticator(example, start_hub, start_hublatch, hub):
    """Its configuration, told only where tokens are exchanged, and a hublatch that no browser goes through."""
    latch = start_hublatch(hub)
    lines = [
        f"load_subconfig({str(example / 'jupyterhub_config.py')!r})",
        f"c.ForcedLoginAuthenticator.token_provider_url = {latch.management + '/'!r}",
        'c.JupyterHub.ip = ""',
        'c.JupyterHub.spawner_class = "jupyterhub.spawner.SimpleLocalProcessSpawner"',
    ]
    return latch, start_hub(authenticator="\n".join(lines) + "\n")


def test_its_authenticator_takes_tokens_of_hublatch_once(with_its_authenticator):
    latch, hub = with_its_authenticator
    link = latch.issue("yara")
    target = f"{hub.public_url}/hub/login?login_token={link['login_token']}&next=%2Fhub%2Fhome"
    browser = Browser(hub.public_url)
    assert browser.open(target).path == "/hub/home"
    assert browser.user() == "yara"
    assert latch.status(link) == "used"
    assert Browser(hub.public_url).open(target).status == 403


def test_its_authenticator_refuses_what_hublatch_has_not_issued(with_its_authenticator):
    _, hub = with_its_authenticator
    browser = Browser(hub.public_url)
    assert browser.open(f"{hub.public_url}/hub/login?login_token=hl_{'0' * 43}").status == 403
    assert browser.user() is None
