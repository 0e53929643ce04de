"""A new operator's first day, by README.md and docs/install.md word for word, in front of the hub's own proxy: `hublatch init`,
what it prints pasted into the hub's configuration, `serve`, `check`, `doctor`, and the first link."""

import json
import os
import re
import subprocess
import textwrap

import pytest

from browser import Browser
from latch import BINARY
from processes import PATIENCE, Process, free_port, wait_until
from readme import block

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("HUBLATCH_")}


def run(*command, **more):
    done = subprocess.run([str(word) for word in command], env={**CLEAN, **more}, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


class Operator:
    """Does what the page says; only ports and the directory are this machine's own."""

    def __init__(self, start_hub, folder):
        self.folder, self.url, self.management = folder / "etc-hublatch", f"http://127.0.0.1:{free_port()}", free_port()
        self.printed = run(
            BINARY, "init", "--dir", self.folder, "--public-url", self.url, "--hub-url", "http://127.0.0.1:8400"
        )  # fmt: skip
        self.pasted = textwrap.dedent("".join(re.findall(r"^ {4}(?!hublatch ).*\n", self.printed, re.M)))
        self.next_commands = re.findall(r"^ {4}(hublatch .*)", self.printed, re.M)
        self.config = self.folder / "hublatch.toml"
        self.hub = start_hub(authenticator="", before_start=self.move_the_hubs_proxy)
        self.process = Process("first-day", folder, [BINARY, *self.next_commands[0].split()[1:]], {})
        wait_until(lambda: self.process.log.count('"listening"') == 2, PATIENCE, "hublatch to listen")

    def move_the_hubs_proxy(self, hub):
        config = hub.folder / "jupyterhub_config.py"
        self.before = config.read_text()
        config.write_text(self.before + self.pasted.replace("http://127.0.0.1:8400", hub.public_url))
        text = self.config.read_text().replace("http://127.0.0.1:8400", hub.public_url)
        self.config.write_text(text.replace("127.0.0.1:8010", f"127.0.0.1:{self.management}"))


@pytest.fixture(scope="module")
def operator(start_hub, tmp_path_factory):
    operator = Operator(start_hub, tmp_path_factory.mktemp("first-day"))
    yield operator
    operator.process.stop()


def test_init_prints_the_block_of_the_page(operator):
    wanted = block("front hub").replace("/etc/hublatch", str(operator.folder))
    moved = 'c.JupyterHub.bind_url = "http://127.0.0.1:8400"'
    assert operator.pasted.partition(moved)[0] == wanted and moved in operator.pasted


def test_the_commands_that_init_names_find_all_well(operator):
    assert [command.split()[1] for command in operator.next_commands] == ["serve", "doctor"]
    assert "is valid" in run(BINARY, "check", "--config", operator.config)
    key = {"HUBLATCH_API_KEY_FILE": str(operator.folder / "app.key")}
    said = run(BINARY, *operator.next_commands[1].split()[1:], "--user", "test-user", **key)
    assert not re.search(r"^(unsafe|failed)", said, re.M) and len(re.findall(r"^ok", said, re.M)) > 10, said


def test_the_first_link_of_the_readme_logs_alice_in(operator):
    commands = re.findall(r"^\$ (.*(?:(?<=\\)\n.*)*)", block("first link"), re.M)
    script = "\n".join(commands).replace("127.0.0.1:8001", f"127.0.0.1:{operator.management}")
    link = json.loads(run("sh", "-ec", script.replace("/etc/hublatch", str(operator.folder))))
    assert set(re.findall(r'"(\w+)":', block("first link").partition("{")[2].partition("}")[2])) <= set(link)
    browser = Browser(operator.url)
    browser.open(link["url"])
    assert browser.user() == "alice"


def test_a_removal_leaves_the_hub_with_its_users_and_its_own_login(operator):
    """"Removal": what was pasted goes, the hub is restarted, hublatch is stopped."""
    operator.process.stop()
    operator.hub.stop()
    (operator.hub.folder / "jupyterhub_config.py").write_text(operator.before)
    operator.hub.start()
    assert operator.hub.has_user("alice")
    assert 'name="password"' in Browser(operator.hub.public_url).open("/hub/login").text
