"""The demo, in a real browser: the button ends in JupyterLab, and the end of the demo ends all of it."""

import json
import os
import re
import signal
import socket
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from chromium import CHROMIUM
from chromium import PATIENCE as MILLISECONDS
from processes import PATIENCE, ROOT, Process, free_port, wait_until

PORTS = ["PORTAL", "PUBLIC", "API", "HUB"]


class Demo:
    """examples/demo.sh in a folder and on ports of its own."""

    def __init__(self, folder):
        self.ports = {f"DEMO_PORT_{name}": str(free_port()) for name in PORTS}
        self.state = folder / "state"
        env = {**self.ports, "DEMO_STATE": str(self.state), "HUBLATCH_BIN": str(binary())}
        # A shell starts what it puts into the background with SIGINT ignored, which is inherited and which no shell can
        # trap (POSIX, "trap"): the tests themselves may have been started like that.
        command = ["env", "--default-signal=INT", ROOT / "examples/demo.sh"]
        self.process = Process("demo", folder, command, env)
        try:
            self.url = wait_until(self._address, 2 * PATIENCE, "the demo to start")
        except BaseException:
            self.end()
            raise

    def _address(self):
        assert self.process.exit_code() is None, self.process.log
        found = re.search(r"Open (\S+) and press", self.process.log)
        return found and found[1]

    def end(self):
        """However it stands; what it started does not carry the mark of the tests."""
        self.process.stop(PATIENCE)
        for pid in list(self.processes()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def processes(self):
        """Command lines of what runs on the demo's behalf, by number."""
        found = {}
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
                environment = (file.parent / "environ").read_bytes().decode(errors="replace")
            except (PermissionError, FileNotFoundError, ProcessLookupError):
                continue
            if str(self.state) in line + environment:
                found[int(file.parent.name)] = line
        return found


def binary():
    """The hublatch to test: $HUBLATCH_BIN, else what `make demo` builds."""
    file = Path(os.environ.get("HUBLATCH_BIN") or ROOT / "target/release/hublatch")
    assert file.exists(), f"{file} is missing: run cargo build --release --locked"
    return file


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    demo = Demo(tmp_path_factory.mktemp("demo"))
    yield demo
    demo.end()


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as playwright:
        # --no-sandbox: Chromium refuses to run as root without it; only our own pages are opened.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=MILLISECONDS)
        yield browser
        browser.close()


@pytest.mark.parametrize("server", ["", "second-1"], ids=["default server", "named server"])
def test_a_press_of_the_button_ends_in_the_launcher_of_the_users_server(demo, chromium, server):
    page = chromium.new_context().new_page()
    page.goto(demo.url)
    page.get_by_label("User name").fill("alice")
    if server:
        page.get_by_label("Named", exact=True).check()
        page.get_by_label("Name of the server").fill(server)
    page.get_by_role("button", name="Open notebook").click()
    expect(page.locator(".jp-Launcher")).to_be_visible(timeout=MILLISECONDS)
    address = f"http://127.0.0.1:{demo.ports['DEMO_PORT_PUBLIC']}/user/alice/{server + '/' if server else ''}lab"
    assert page.url.partition("?")[0] == address
    config = json.loads(page.locator("#jupyter-config-data").text_content())
    assert (config["hubUser"], config["hubServerName"]) == ("alice", server)
    page.context.close()


def test_an_error_is_shown_on_the_page_and_the_field_has_the_focus(demo, chromium):
    page = chromium.new_context().new_page()
    page.goto(demo.url)
    page.get_by_label("User name").fill("../root")
    page.get_by_role("button", name="Open notebook").click()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_label("User name")).to_be_focused()
    expect(page.get_by_label("User name")).to_have_value("../root")
    page.context.close()


def test_the_tour_shows_a_start_a_used_link_a_switch_a_frame_and_the_end_of_a_session(demo, chromium):
    context = chromium.new_context()
    page = context.new_page()
    page.goto(demo.url)
    expect(page.get_by_label("User name")).to_have_value("alice")
    page.get_by_role("link", name="Take the tour").click()

    @contextmanager
    def tab_of(name, role="button"):
        with context.expect_page() as opened:
            page.get_by_role(role, name=name).click()
        yield opened.value
        opened.value.close()

    def assert_notebook(tab, user):
        expect(tab.locator("#jupyter-config-data")).to_be_attached(timeout=MILLISECONDS)
        assert json.loads(tab.locator("#jupyter-config-data").text_content())["hubUser"] == user

    def switch_to(user):
        with tab_of(f"Open as {user}") as tab:
            tab.get_by_role("button", name=f"Continue as {user}").click()
            assert_notebook(tab, user)

    with tab_of("Open as alice") as tab:
        assert_notebook(tab, "alice")
    with tab_of("Start and watch") as tab:
        expect(tab.get_by_role("heading", name="Your server is starting")).to_be_visible()
        assert_notebook(tab, "alice")
        assert "/user/alice/tour-1/lab" in tab.url
    again = "Open the link of step 1 again"
    with tab_of(again) as tab:
        assert_notebook(tab, "alice")
    switch_to("bob")
    with tab_of(again) as tab:
        expect(tab.get_by_role("heading", name="This link has already been used")).to_be_visible()
    switch_to("alice")
    with tab_of("Open the page with the frame", "link") as tab:
        framed = tab.frame_locator("iframe")
        expect(framed.locator("#jupyter-config-data")).to_be_attached(timeout=MILLISECONDS)
        expect(tab.locator("output")).to_contain_text("The page asks for a link: first")
    with tab_of("End the sessions of alice") as tab:
        expect(tab.get_by_role("heading", name="Your session has ended")).to_be_visible()
        expect(tab.get_by_role("link", name="Back to Sample portal")).to_be_visible()
    context.close()


@pytest.fixture
def ending(tmp_path):
    demo = Demo(tmp_path)
    yield demo
    demo.end()


def test_ending_the_demo_ends_all_that_it_started(ending, chromium):
    demo = ending
    page = chromium.new_context().new_page()
    page.goto(demo.url)
    page.get_by_label("User name").fill("bob")
    page.get_by_role("button", name="Open notebook").click()
    expect(page.locator(".jp-Launcher")).to_be_visible(timeout=MILLISECONDS)
    page.context.close()
    running = demo.processes().values()
    for part in ("jupyterhub --config", "jupyterhub-singleuser", "hublatch chp", "tour.py"):
        assert any(part in line for line in running), (part, running)
    # One hop: nothing but hublatch is between the browser and the notebook.
    assert not [line for line in running if re.match(r"\S*\bnode\b", line) or "configurable-http-proxy" in line], running
    os.kill(demo.process.pid, signal.SIGINT)
    assert demo.process.wait(PATIENCE) == 0, demo.process.log
    wait_until(lambda: not demo.processes(), 60, f"these to end: {demo.processes()}")


def test_a_busy_port_is_named_in_one_line_before_anything_is_started(tmp_path):
    ports = {f"DEMO_PORT_{name}": str(free_port()) for name in PORTS}
    port = ports["DEMO_PORT_PUBLIC"]
    with socket.create_server(("127.0.0.1", int(port))):
        env = {**os.environ, **ports, "DEMO_STATE": str(tmp_path / "state")}
        command = [ROOT / "examples/demo.sh", "--check"]
        ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1 and port in ended.stderr and "DEMO_PORT_PUBLIC" in ended.stderr
    assert not (tmp_path / "state").exists()
