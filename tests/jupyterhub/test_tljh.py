"""The plugin of The Littlest JupyterHub: the files that it writes, and a real hub under them. No TLJH is installed here."""

import copy
import json
import os
import re
import stat
import subprocess
import sys
import tomllib
import urllib.request

import pytest

from browser import Browser
from latch import BINARY
from processes import PATIENCE, ROOT, Process, free_port, wait_until

sys.path.insert(0, str(ROOT / "python"))
from hublatch import tljh  # noqa: E402

# As tljh.configurer.load_config tells it.
CONFIG = {
    "base_url": "/",
    "users": {"allowed": [], "banned": [], "admin": ["ada"]},
    "http": {"address": "", "port": 80},
    "https": {"enabled": False, "address": "", "port": 443, "letsencrypt": {"email": "", "domains": []}},
}


def config(**https):
    changed = copy.deepcopy(CONFIG)
    changed["https"].update(https)
    return changed


@pytest.fixture
def where(tmp_path):
    return tljh.Layout(tmp_path / "tljh", systemd=tmp_path)


def test_the_configuration_is_valid_and_only_its_owner_reads_it(where):
    tljh.write_configuration(where, config())
    done = subprocess.run([BINARY, "check", "--config", where.config], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    for file in where.folder.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    written = tomllib.loads(where.config.read_text())
    assert written["apps"][0]["deny_usernames"] == ["ada"]
    assert where.app_key.read_text().strip() not in where.config.read_text()


def test_what_is_there_already_is_left_alone(where):
    tljh.write_configuration(where, config())
    before = {file: file.read_bytes() for file in where.folder.iterdir()}
    tljh.write_configuration(where, config(enabled=True))
    assert {file: file.read_bytes() for file in where.folder.iterdir()} == before


@pytest.mark.parametrize(
    ("https", "url"),
    [
        ({"enabled": True, "letsencrypt": {"email": "a@b", "domains": ["hub.example.org"]}}, "https://hub.example.org"),
        ({"enabled": True, "port": 8443, "letsencrypt": {"email": "", "domains": ["h.test"]}}, "https://h.test:8443"),
    ],
)
def test_the_public_url_is_the_domain_of_the_certificate(https, url):
    assert tljh.public_url(config(**https)) == url


def test_the_public_url_can_be_given(monkeypatch):
    monkeypatch.setenv("HUBLATCH_PUBLIC_URL", "https://given.example.org/")
    assert tljh.public_url(config()) == "https://given.example.org"


def written_url(where):
    return tomllib.loads(where.config.read_text())["public"]["url"]


def test_https_that_is_switched_on_later_changes_the_links(where):
    tljh.write_configuration(where, config())
    plain = written_url(where)
    tljh.follow_public_url(where, config())
    assert plain.startswith("http://") and written_url(where) == plain
    tljh.follow_public_url(where, config(enabled=True, letsencrypt={"email": "a@b", "domains": ["hub.example.org"]}))
    assert written_url(where) == "https://hub.example.org"
    assert stat.S_IMODE(where.config.stat().st_mode) == 0o600


@pytest.mark.parametrize("chosen", ["by the administrator", "at the installation"])
def test_a_url_that_somebody_has_chosen_stays(where, monkeypatch, chosen):
    if chosen == "at the installation":
        monkeypatch.setenv("HUBLATCH_PUBLIC_URL", "https://given.example.org")
        tljh.write_configuration(where, config())
        monkeypatch.delenv("HUBLATCH_PUBLIC_URL")
    else:
        tljh.write_configuration(where, config())
        where.config.write_text(where.config.read_text().replace(written_url(where), "https://given.example.org"))
    tljh.follow_public_url(where, config(enabled=True))
    assert written_url(where) == "https://given.example.org"


@pytest.mark.parametrize(("enabled", "entry_point"), [(True, "https"), (False, "http")])
def test_traefik_sends_everything_to_hublatch(where, enabled, entry_point):
    for _ in range(2):
        tljh.write_rule(where, config(enabled=enabled))
    rule = tomllib.loads(where.rule.read_text())["http"]
    assert rule["routers"]["hublatch"]["entryPoints"] == [entry_point]
    assert rule["routers"]["hublatch"]["priority"] > 1000, "longer than any rule: that is what others have"
    tljh.write_configuration(where, config())
    listens = tomllib.loads(where.config.read_text())["public"]["listen"]
    assert rule["services"]["hublatch"]["loadBalancer"]["servers"] == [{"url": f"http://{listens}"}]


def test_the_unit_runs_the_program_as_its_own_user(where):
    tljh.write_unit(where)
    text = where.unit.read_text()
    assert f"ExecStart={where.binary} serve --config {where.config}\n" in text
    assert "\nUser=hublatch\n" in text


def environment(where):
    """What the unit sets."""
    tljh.write_unit(where)
    return dict(re.findall(r"^Environment=(\w+)=(.+)$", where.unit.read_text(), re.M))


def test_the_unit_keeps_the_routes_in_a_folder_of_its_own(where):
    tljh.write_configuration(where, config())
    assert environment(where) == {"HUBLATCH_ROUTES__STATE": "/var/lib/hublatch/routes.json"}
    # ProtectSystem=strict leaves nothing else to be written.
    assert "\nStateDirectory=hublatch\nStateDirectoryMode=0700\n" in where.unit.read_text()
    check = [BINARY, "check", "--config", where.config]
    given = {**os.environ, **environment(where)}
    done = subprocess.run(check, env=given, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr


def test_nothing_is_changed_before_it_is_installed(where, monkeypatch):
    monkeypatch.setattr(tljh, "layout", lambda: where)
    tljh.tljh_custom_jupyterhub_config(c=None)
    assert not where.rule.exists()


def test_the_hooks_are_what_tljh_looks_for():
    import pluggy

    manager = pluggy.PluginManager("tljh")
    manager.register(tljh)
    names = {call.name for call in manager.get_hookcallers(tljh)}
    assert names == {"tljh_post_install", "tljh_custom_jupyterhub_config"}


AS_TLJH_DOES = """
# TLJH's own part of the configuration, then the hook.
from jupyterhub.auth import DummyAuthenticator
c.JupyterHub.proxy_class = "traefik_file"
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "right"
c.DummyAuthenticator.allowed_users = {{"ada"}}
from hublatch import tljh
tljh.PUBLIC, tljh.MANAGEMENT = {addresses!r}
where = tljh.Layout({prefix!r})
where.binary = {binary!r}
tljh.configure_hub(where, c)
"""


def test_a_hub_that_is_configured_so_takes_links_beside_its_own_login(start_hub, where, monkeypatch):
    public, management = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    monkeypatch.setattr(tljh, "PUBLIC", public)
    monkeypatch.setattr(tljh, "MANAGEMENT", management)
    monkeypatch.setenv("HUBLATCH_PUBLIC_URL", f"http://{public}")
    tljh.write_configuration(where, config())
    # As the unit has it, but for the folder that systemd makes.
    state = {name: value.replace("/var/lib", str(where.prefix / "var")) for name, value in environment(where).items()}
    serve = [BINARY, "serve", "--config", where.config]
    latch = Process("hublatch", where.folder, serve, state)
    text = AS_TLJH_DOES
    for name, value in {"addresses": (public, management), "prefix": str(where.prefix), "binary": str(BINARY)}.items():
        text = text.replace("{" + name + "!r}", repr(value))

    def before_start(hub):
        # The hub stands behind hublatch, not behind a proxy of its own.
        hub.public_port = int(public.rpartition(":")[2])
        hub.env.pop("CONFIGPROXY_AUTH_TOKEN", None)

    try:
        wait_until(lambda: '"listening"' in latch.log, PATIENCE, "hublatch to listen")
        start_hub(authenticator=text, before_start=before_start)
        request = urllib.request.Request(
            f"http://{management}/api/v1/links",
            data=json.dumps({"username": "alice", "next": "/hub/home"}).encode(),
            headers={"Authorization": f"token {where.app_key.read_text().strip()}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            link = json.loads(answer.read())["url"]
        browser = Browser(f"http://{public}")
        assert browser.open(link).path == "/hub/home"
        assert browser.user() == "alice"
        assert 'name="password"' in Browser(f"http://{public}").open("/hub/login").text
        # Restarted alone, it knows the hub before the hub looks after its routes.
        latch.stop_alone()
        latch = Process("hublatch-again", where.folder, serve, state)
        wait_until(lambda: '"listening"' in latch.log, PATIENCE, "hublatch to listen again")
        assert browser.user() == "alice"
        request.data = json.dumps({"username": "ada"}).encode()
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=PATIENCE)
        assert refused.value.code in (403, 422)
    finally:
        latch.kill()
