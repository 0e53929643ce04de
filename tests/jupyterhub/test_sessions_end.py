"""Sessions that end, as people in two browsers see it: Chromium before a real hub, with open kernels."""

import os
import subprocess
import time

import pytest
from playwright.sync_api import expect, sync_playwright

from chromium import PATIENCE, launch, show, wait_for
from latch import BINARY
from processes import wait_until

# A page of the server, light enough for a busy machine, opens a kernel's socket as JupyterLab's page does.
OPEN_KERNEL = """async (server) => {
  const xsrf = document.cookie.match(/(?:^|; )_xsrf=([^;]*)/)?.[1] ?? "";
  const answer = await fetch(`${server}/api/kernels`, {
    method: "POST", headers: { "X-XSRFToken": xsrf, "Content-Type": "application/json" }, body: "{}" });
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
  const { id } = await answer.json();
  const socket = new WebSocket(`${location.origin.replace("http", "ws")}${server}/api/kernels/${id}/channels`);
  window.closedAt = null;
  await new Promise((resolve, reject) => { socket.onopen = resolve; socket.onerror = reject; });
  socket.onclose = () => { window.closedAt = Date.now() / 1000; };
  window.socket = socket;
  return id;
}"""
FETCH = """async (path) => {
  const xsrf = document.cookie.match(/(?:^|; )_xsrf=([^;]*)/)?.[1] ?? "";
  const answer = await fetch(path, { redirect: "manual", cache: "no-store", headers: { "X-XSRFToken": xsrf } });
  return answer.type === "opaqueredirect" ? 302 : answer.status;
}"""
OPEN = 1  # WebSocket.readyState


@pytest.fixture(scope="module")
def latch(hub, start_hublatch):
    return start_hublatch(hub, {"login": {"app_url": "http://app.localhost/"}})


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def profiles(chromium):
    """Browsers that share no cookie."""
    contexts = []

    def new():
        contexts.append(chromium.new_context())
        return contexts[-1].new_page()

    yield new
    for context in contexts:
        context.close()


def session_has_ended(page):
    expect(page.locator("h1")).to_have_text("Your session has ended")


class Person:
    """Somebody who is on the way to their server, and who opens a kernel and its socket there."""

    def __init__(self, latch, page, user, link=None):
        self.link, self.page, self.user, self.latch = link, page, user, latch
        self.hub = getattr(latch, "base_url", "/") + "hub"
        self.server = f"{self.hub.removesuffix('hub')}user/{user}"
        page.wait_for_url(f"**{self.server}/lab*", timeout=PATIENCE)
        wait_for(page, lambda: "_xsrf" in page.evaluate("document.cookie"), "the server's page")
        self.kernel = page.evaluate(OPEN_KERNEL, self.server)
        self.assert_in()

    @classmethod
    def by_link(cls, latch, page, user, **order):
        link = latch.issue(user, path="lab", **order)
        page.goto(link["url"])
        return cls(latch, page, user, link)

    def is_open(self):
        return self.page.evaluate("window.socket.readyState") == OPEN

    def server_status(self):
        """Of a script's call; a redirect to a login counts as what it is."""
        return self._fetch(f"{self.server}/api/status")

    def hub_status(self):
        """The same; None where the hub is another origin than the server."""
        return self._fetch(f"{self.hub}/home") if self.page.url.startswith(self.latch.url) else None

    def _fetch(self, path):
        return self.page.evaluate(FETCH, path)

    def closed_at(self):
        return wait_for(self.page, lambda: self.page.evaluate("window.closedAt"), "the socket to close")

    def assert_out(self, shown=session_has_ended):
        """By script and by person, at the server and at the hub; the page where that was `shown` last."""
        assert self.server_status() in (302, 403)
        assert self.hub_status() in (302, None)
        page = self.page.context.new_page()
        for address in (self.page.url, f"{self.latch.url}{self.hub}/home"):
            page.goto(address, wait_until="commit")
            shown(page)
        return page

    def assert_in(self):
        assert (self.is_open(), self.server_status()) == (True, 200)
        assert self.hub_status() in (200, None)


def delete(latch, user):
    assert latch.manage("DELETE", f"/api/v1/users/{user}/sessions") == (200, {"ended": 1})


def command(latch, user):
    environment = {**os.environ, "HUBLATCH_API_URL": latch.management, "HUBLATCH_API_KEY": latch.key}
    done = subprocess.run([BINARY, "end", user], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "sessions ended: 1\n"), done


@pytest.fixture(scope="module")
def bystander(latch, chromium):
    context = chromium.new_context()
    yield Person.by_link(latch, context.new_page(), "bob-stays")
    context.close()


@pytest.mark.parametrize("end", [delete, command], ids=["api", "command"])
def test_an_end_now_shuts_them_out_at_once_and_bob_does_not_move(end, hub, latch, profiles, bystander):
    user = f"alice-{end.__name__}"
    alice, elsewhere = Person.by_link(latch, profiles(), user), profiles()
    elsewhere.goto(latch.issue(user, next="/hub/home")["url"])
    elsewhere.wait_for_url("**/hub/home")
    token = hub.api("POST", f"/users/{user}/tokens", {"note": "her own"})["token"]

    end(latch, user)
    answered = time.time()
    # Within a second on an idle machine.
    # Noted by the page, which goes on loading JupyterLab.
    assert alice.closed_at() - answered <= 15
    page = alice.assert_out()
    show(page, "session-ended")
    assert elsewhere.goto(f"{latch.url}/hub/home").status == 403, "her other browser is out as well"
    bystander.assert_in()

    # Her kernel, her server and her own token live on; another link lets her in again.
    kernels = latch.browser().fetch("GET", f"/user/{user}/api/kernels", headers={"Authorization": f"token {token}"})
    assert alice.kernel in [kernel["id"] for kernel in kernels.json]
    page.goto(latch.issue(user, next="/hub/home")["url"])
    page.wait_for_url("**/hub/home")
    ended = wait_until(lambda: events(latch, user), 60, "the audit line")
    assert [(line["app"], line["count"], line["reason"]) for line in ended] == [("portal", 1, "api")]


def events(latch, user):
    return [r for r in latch.process.records() if r.get("event") == "session_ended" and r.get("username") == user]


def test_a_session_of_a_minute_ends_by_itself_and_bob_does_not_move(latch, profiles, bystander):
    alice = Person.by_link(latch, profiles(), "alice-minute", session_expires_in=60)
    until = latch.manage("GET", f"/api/v1/links/{alice.link['id']}")[1]["session"]["until"]
    alice.assert_in()
    closed = alice.closed_at()
    over = seconds(until)
    # The id says whole seconds; the tunnels are looked at each second.
    assert over - 1 <= closed <= over + 2, (over, closed)
    alice.assert_out()
    bystander.assert_in()
    assert not events(latch, "alice-minute"), "nobody has ended it: it says so itself"


def seconds(text):
    from datetime import datetime

    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
