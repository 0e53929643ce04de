"""Two hublatch and one Redis behind nginx (compose-replicas.yaml): each is restarted under load, and nobody notices."""

import subprocess
import sys
import time

import pytest

from engine import run

FILE = "docker/compose-replicas.yaml"
# Runs inside the engine's network: one request after the other, each on a connection of its own, until it is told to end.
LOAD = """
import http.client, select, sys
sent = failed = 0
while not select.select([sys.stdin], [], [], 0.01)[0]:
    sent += 1
    try:
        connection = http.client.HTTPConnection("127.0.0.1", 8000, timeout=30)
        connection.request("GET", "/hub/api/")
        if connection.getresponse().status != 200:
            failed += 1
    except (OSError, http.client.HTTPException):
        failed += 1
print(sent, failed)
"""


@pytest.fixture(scope="module")
def stack(engine, images):
    engine.compose(FILE, "up", "--detach", "--no-build", "--pull", "never", "--wait", timeout=600)
    yield Stack(engine)
    engine.compose(FILE, "down", "--volumes", "--timeout", "20")


class Stack:
    def __init__(self, engine):
        self.engine = engine

    def link(self, replica):
        """The address of a link that this replica has issued, as the head of the file says, but for longer than half a
        minute: a restart may take as long."""
        command = ["/usr/local/bin/hublatch", "link", "alice", "--path", "lab", "--expires-in", "5m"]
        settings = ["-e", "HUBLATCH_API_KEY_FILE=/etc/hublatch/app.key"]
        return self.engine.compose(FILE, "exec", "-T", *settings, replica, *command).strip()

    def click(self, link):
        """Status and where it leads, as a browser opens it."""
        navigation = ["Accept: text/html", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Sec-Fetch-Site: none"]
        headers = [word for header in navigation for word in ("--header", header)]
        command = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code} %{redirect_url}", *headers, link]
        return run(*self.engine.inside(), *command).split()

    def restart(self, replica):
        self.engine.compose(FILE, "restart", replica)
        deadline = time.monotonic() + 120
        while self.engine.state(f"hublatch-replicas-demo-{replica}-1")["Health"]["Status"] != "healthy":
            assert time.monotonic() < deadline, self.engine.logs(f"hublatch-replicas-demo-{replica}-1")
            time.sleep(0.2)


def test_a_link_of_one_is_good_at_the_other_and_outlives_a_restart(stack):
    first, second = stack.link("hublatch-a"), stack.link("hublatch-b")
    stack.restart("hublatch-a")
    for link in (first, second):
        status, location = stack.click(link)
        assert (status, "/hub/spawn/alice" in location) == ("302", True), location
    assert stack.click(first)[0] == "403"


def test_each_is_restarted_under_load_and_no_request_fails(stack):
    command = [*stack.engine.inside(), sys.executable, "-c", LOAD]
    load = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        for replica in ("hublatch-a", "hublatch-b"):
            stack.restart(replica)
        said, _ = load.communicate("end\n", timeout=60)
    finally:
        load.kill()
    sent, failed = map(int, said.split())
    assert sent > 50 and failed == 0, f"{failed} of {sent} failed"
