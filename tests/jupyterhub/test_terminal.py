"""What a person at a terminal sees: `hublatch serve` logs lines of text there, and `hublatch doctor` prints each finding as
it is found, however long the hub says nothing."""

import json
import os
import pty
import re
import socket
import subprocess
import threading
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from latch import BINARY, Hublatch, toml
from processes import PATIENCE, free_port, wait_until


class SilentHub:
    """Takes connections and says nothing, until it is told to close them."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:{}".format(self._listener.getsockname()[1])
        self._open, self._over = [], False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                self._open.append(self._listener.accept()[0])
            except OSError:
                return
            if self._over:
                self._close()

    def is_asked(self):
        return bool(self._open)

    def close(self):
        """All that are open, and those to come at once."""
        self._over = True
        self._close()

    def _close(self):
        while self._open:
            self._open.pop().close()

    def stop(self):
        self.close()
        self._listener.close()


@pytest.fixture
def silent():
    hub = SilentHub()
    yield hub
    hub.stop()


@pytest.fixture
def config(tmp_path, silent):
    """Writes a configuration before the silent hub."""

    def write(**changes):
        place = SimpleNamespace(base_url="/", public_url=silent.url, internal_url=silent.url, key=Ed25519PrivateKey.generate())
        changes = {"management": {"listen": f"127.0.0.1:{free_port()}"}, **changes}
        file = tmp_path / "hublatch.toml"
        file.write_text(toml(Hublatch(tmp_path, place, changes)._config))
        file.chmod(0o600)
        return file

    return write


class Terminal:
    """A program whose output goes to a terminal, and what has been shown there."""

    def __init__(self, *command, **environment):
        self._screen, near = pty.openpty()
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("HUBLATCH_", "NO_COLOR"))}
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=near, stderr=near, env={**clean, **environment}
        )
        os.close(near)
        self.shown = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        while True:
            try:
                data = os.read(self._screen, 65536)
            except OSError:  # so it ends when nobody has the terminal open any more
                return
            self.shown += data.decode(errors="replace")

    def lines(self):
        """Those that are whole."""
        return self.shown.replace("\r\n", "\n").split("\n")[:-1]

    def end(self):
        self.process.terminate()
        self.process.wait(PATIENCE)
        self._reader.join()
        os.close(self._screen)


@pytest.fixture
def terminal():
    terminals = []

    def run(*command, **environment):
        terminals.append(Terminal(*command, **environment))
        return terminals[-1]

    yield run
    for one in terminals:
        one.end()


@pytest.mark.parametrize("format", [None, "text", "json"])
def test_a_log_is_text_at_a_terminal_unless_another_form_is_wanted(config, terminal, format):
    file = config(**({"log": {"format": format}} if format else {}))
    served = terminal(BINARY, "serve", "--config", file)
    wait_until(lambda: len([line for line in served.lines() if "listening" in line]) == 2, PATIENCE, "both listeners")
    for line in served.lines():
        if format == "json":
            assert json.loads(line)["message"], line
        else:
            assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z +(INFO|WARN) hublatch::[\w:]+: \w", line), line


@pytest.mark.parametrize("format", [None, "text", "json"])
def test_a_log_is_json_elsewhere_unless_another_form_is_wanted(config, tmp_path, format):
    file, log = config(**({"log": {"format": format}} if format else {})), tmp_path / "log"
    with log.open("wb") as sink:
        process = subprocess.Popen([BINARY, "serve", "--config", file], stdin=subprocess.DEVNULL, stderr=sink)
    try:
        wait_until(lambda: log.read_text().count("listening") == 2, PATIENCE, "both listeners")
    finally:
        process.terminate()
        process.wait(PATIENCE)
    assert {line.startswith("{") for line in log.read_text().splitlines()} == {format != "text"}


def test_the_doctor_prints_what_it_has_found_while_the_hub_says_nothing(config, silent, terminal):
    doctor = terminal(BINARY, "doctor", "--config", config())
    wait_until(lambda: any("key pair" in line or "public key" in line for line in doctor.lines()), PATIENCE, "the first findings")
    assert doctor.process.poll() is None, doctor.shown
    wait_until(silent.is_asked, PATIENCE, "the doctor to ask the hub")
    before = doctor.lines()
    silent.close()
    assert doctor.process.wait(PATIENCE) == 1
    wait_until(lambda: "hub.url" in doctor.shown, PATIENCE, "the finding about the hub")
    after = doctor.lines()
    assert after[: len(before)] == before and not any("hub.url" in line for line in before), doctor.shown
    # Each has its colour at a terminal.
    assert all(line.startswith("\x1b[") for line in after), doctor.shown


def test_the_doctor_is_without_colour_where_none_is_wanted(config, silent, terminal):
    silent.close()
    doctor = terminal(BINARY, "doctor", "--config", config(), NO_COLOR="1")
    assert doctor.process.wait(PATIENCE) == 1
    wait_until(lambda: "hub.url" in doctor.shown, PATIENCE, "the finding about the hub")
    assert "\x1b" not in doctor.shown
