"""The Debian package on a machine with a real systemd: installed, started, upgraded under load, removed."""

import shutil
import subprocess
import sys
import time

import pytest

from engine import DOCKER, ROOT, run
from machine import Machine

sys.path.insert(0, str(ROOT / "tests/jupyterhub"))
from readme import block  # noqa: E402

# The hub of these tests: whoever gets through to it, gets its answer.
HUB = """
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Hub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"hub")
ThreadingHTTPServer(("127.0.0.1", 8400), Hub).serve_forever()
"""
# One request after the other over TLS, each on a connection of its own, until its input ends; then how many there were, how
# many failed, and how long the longest took.
LOAD = """
import http.client, select, ssl, sys, time
tls = ssl.create_default_context()
tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
sent = failed = 0
longest = 0.0
print("begun", flush=True)
while not select.select([sys.stdin], [], [], 0.005)[0]:
    began = time.monotonic()
    sent += 1
    try:
        connection = http.client.HTTPSConnection("127.0.0.1", 443, timeout=30, context=tls)
        connection.request("GET", "/hub/api/", headers={"Host": "hub.example.org"})
        if connection.getresponse().read() != b"hub":
            failed += 1
    except (OSError, http.client.HTTPException):
        failed += 1
    longest = max(longest, time.monotonic() - began)
print(sent, failed, longest)
"""
# A certificate that nobody else trusts, where docs/install.md says that one is.
CERTIFICATE = """mkdir -p /etc/hublatch/tls
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=hub.example.org \
  -addext subjectAltName=DNS:hub.example.org -out /etc/hublatch/tls/fullchain.pem -keyout /etc/hublatch/tls/privkey.pem"""
OWN_TLS = block("systemd tls").removeprefix("[public]\n")
ANSWERS = "test \"$(curl -sk --resolve hub.example.org:443:127.0.0.1 https://hub.example.org/hub/api/)\" = hub"


class Load:
    """Requests while a block runs, not fewer than `at_least`; none of them fails."""

    def __init__(self, machine, at_least):
        self.machine, self.at_least = machine, at_least

    def __enter__(self):
        command = [DOCKER, "exec", "--interactive", self.machine.name, "python3", "-c", LOAD]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command, env=self.machine.engine.env, text=True, **pipes)
        assert self.process.stdout.readline() == "begun\n"
        return self

    def __exit__(self, kind, *_):
        said, _ = self.process.communicate("end\n", timeout=60)
        if kind is None:
            sent, failed, self.longest = (float(word) for word in said.split())
            print(f"{sent:.0f} requests, {failed:.0f} failed, the longest {self.longest:.2f} s")
            assert failed == 0, f"{failed:.0f} of {sent:.0f} failed"
            assert sent >= self.at_least, f"{sent:.0f} requests are no load"


@pytest.fixture(scope="module")
def packages(package, tmp_path_factory):
    """The package, and the same as a later version."""
    folder = tmp_path_factory.mktemp("packages")
    shutil.copy(package, folder / "one.deb")
    run("dpkg-deb", "--raw-extract", package, folder / "files")
    control = folder / "files/DEBIAN/control"
    control.write_text(control.read_text().replace("\nVersion: ", "\nVersion: 9"))
    run("dpkg-deb", "--root-owner-group", "-Znone", "--build", folder / "files", folder / "two.deb")
    return folder


@pytest.fixture(scope="module")
def machine(engine, images, packages):
    (packages / "hub.py").write_text(HUB)
    machine = Machine(engine, packages)
    try:
        machine.sh("systemd-run --quiet --unit=hub python3 /given/hub.py")
        yield machine
    finally:
        machine.end()


@pytest.fixture(scope="module")
def installed(machine):
    machine.sh("dpkg -i /given/one.deb")
    # Without a configuration there is nothing to start.
    assert machine.shown("hublatch.service", "ActiveState") == ["inactive"]
    machine.sh(f"set -e\n{block('systemd init')}{CERTIFICATE}")
    configuration = machine.sh("cat /etc/hublatch/hublatch.toml")
    (listen,) = [line for line in configuration.splitlines() if line.startswith("listen = ") and "8000" in line]
    write(machine, "/etc/hublatch/hublatch.toml", configuration.replace(listen, OWN_TLS))
    machine.sh(f"set -e\n{block('systemd start')}")
    machine.until("the hub's answer", ANSWERS)
    return machine


def write(machine, file, text):
    command = [DOCKER, "exec", "--interactive", machine.name, "tee", file]
    subprocess.run(command, input=text, env=machine.engine.env, text=True, check=True, capture_output=True)


def test_it_runs_as_its_own_user_with_one_right(installed):
    (pid,) = installed.shown("hublatch.service", "MainPID")
    facts = dict(line.split(":", 1) for line in installed.sh(f"cat /proc/{pid}/status").splitlines())
    owner = installed.sh("id -u hublatch").strip()
    assert set(facts["Uid"].split()) == {owner} and owner != "0"
    # CAP_NET_BIND_SERVICE alone.
    assert int(facts["CapBnd"], 16) == int(facts["CapEff"], 16) == 1 << 10
    assert (facts["NoNewPrivs"].strip(), facts["Seccomp"].strip()) == ("1", "2")


def test_a_hub_of_another_user_reads_what_is_for_it_and_no_secret(installed):
    installed.sh("useradd --system hubuser")
    reads = "runuser -u hubuser -- test -r /etc/hublatch/"
    assert not installed.is_true(f"{reads}assertion.pub.pem")
    installed.sh("usermod --append --groups hublatch hubuser")
    for file, is_readable in [
        ("assertion.pub.pem", True),
        ("hublatch_authenticator.py", True),
        ("app.key", False),
        ("assertion.key.pem", False),
    ]:
        assert installed.is_true(f"{reads}{file}") == is_readable, file


def test_systemd_judges_it_safe(installed):
    installed.sh("systemd-analyze security --threshold=20 --no-pager hublatch.service")


def test_an_upgrade_restarts_it_under_load_and_no_request_fails(installed):
    since = installed.shown("hublatch.socket", "ActiveEnterTimestampMonotonic")
    (before,) = installed.shown("hublatch.service", "MainPID")
    took = []
    with Load(installed, at_least=8) as load:
        for command in ("dpkg -i /given/two.deb", "systemctl restart hublatch.service"):
            began = time.monotonic()
            installed.sh(command)
            took.append(time.monotonic() - began)
    # Whoever comes waits in the socket for one start, and never through both.
    assert load.longest < 1.5 * max(took), f"{load.longest:.1f} s; the commands {took}"
    pid, state = installed.shown("hublatch.service", "MainPID", "ActiveState")
    assert pid != before and state == "active"
    assert installed.shown("hublatch.socket", "ActiveEnterTimestampMonotonic") == since, "the socket was closed"
    assert installed.sh("dpkg-query --show --showformat '${Version}' hublatch").startswith("9")


def test_a_reload_and_a_crash_lose_no_request_either(installed):
    before = installed.shown("hublatch.service", "MainPID")
    with Load(installed, at_least=5):
        installed.sh("for each in 1 2 3 4 5; do systemctl reload hublatch.service; done")
        assert installed.shown("hublatch.service", "MainPID") == before
    # Requests that are in it when it is killed are lost, so none is; whoever comes then waits in the socket.
    installed.sh("systemctl kill --signal=KILL hublatch.service")
    with Load(installed, at_least=1):
        installed.until("a start after the crash", "systemctl is-active --quiet hublatch.service")
    assert installed.shown("hublatch.service", "NRestarts") == ["1"]


def test_a_bad_configuration_is_not_tried_again_and_a_good_one_is(installed):
    file = "/etc/hublatch/hublatch.toml"
    installed.sh(f"cp -p {file} /root/good && echo nonsense >>{file}")
    installed.sh("systemctl restart hublatch.service", check=False)
    assert installed.shown("hublatch.service", "ExecMainStatus", "ActiveState", "NRestarts") == ["78", "failed", "0"]
    installed.sh(f"cp -p /root/good {file} && systemctl restart hublatch.socket hublatch.service")
    installed.until("the hub's answer", ANSWERS)


def test_behind_a_front_it_listens_where_init_has_said(installed):
    configuration = installed.sh("cat /etc/hublatch/hublatch.toml")
    write(installed, "/etc/hublatch/hublatch.toml", configuration.replace(OWN_TLS, 'listen = "127.0.0.1:8000"\n'))
    installed.sh(f"set -e\nsystemctl stop hublatch.service hublatch.socket\n{block('systemd front')}{block('systemd start')}")
    installed.until("the hub's answer", 'test "$(curl -s -H "Host: hub.example.org" http://127.0.0.1:8000/hub/api/)" = hub')
    assert not installed.is_true("curl -sk https://127.0.0.1/")


def test_a_purge_leaves_keys_and_nothing_else(installed):
    installed.sh("dpkg --purge hublatch")
    assert not installed.is_true("curl -s http://127.0.0.1:8000/")
    left = "find / -xdev -name '*hublatch*' -not -path '/proc/*' -not -path '/given*' -not -path '/var/lib/dpkg/*'"
    assert set(installed.sh(left).split()) - {"/root/good"} == {
        "/etc/hublatch",
        "/etc/hublatch/hublatch.toml",
        "/etc/hublatch/hublatch_authenticator.py",
        "/etc/systemd/system/hublatch.socket.d",
    }
    assert "hublatch" in installed.sh("getent passwd hublatch")
    assert "hublatch" not in installed.sh("systemctl list-unit-files --no-pager; systemctl --failed --no-pager")
