"""The samples of docs/applications.md do what it says of them."""

import re
import subprocess
import sys

import pytest
from traitlets.config import Config

from processes import PATIENCE
from hub import NODE
from readme import block, section
from test_app_tokens import settled

SECTION = section("docs/applications.md", "Links that your application signs itself")
ISSUER, AUDIENCE = "https://portal.example.org", "https://hub.example.org"
SHOW = {"python": "\nprint(token)\n", "js": "\nconsole.log(token);\n"}
RUN = {"python": ("sample.py", [sys.executable]), "js": ("sample.mjs", [NODE / "node"])}


def sample(language):
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", SECTION, re.M | re.S)
    return found


@pytest.fixture(scope="module")
def portal(tmp_path_factory):
    """The folder of an app that has made its keys as the documents say."""
    folder = tmp_path_factory.mktemp("readme")
    commands = [text for text in re.findall(r"`(openssl [^`]*)`", SECTION.replace("\n", " "))]
    assert len(commands) == 2
    for command in commands:
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def trusting(portal, hub, start_hublatch):
    """A hublatch that knows the app as the documents say."""
    line = re.search(r"^jwt = \{ (.*) \}$", sample("toml"), re.M)[1]
    settings = dict(re.findall(r'(\w+) = "([^"]*)"', line))
    assert settings == {"issuer": ISSUER, "audience": AUDIENCE, "public_key_file": "portal.pub.pem"}
    settings["public_key_file"] = str(portal / settings["public_key_file"])
    app = {"name": "portal", **{f"jwt.{key}": value for key, value in settings.items()}}
    latch = start_hublatch(hub, {"apps": [app]})
    settled()
    return latch


def test_the_scope_of_another_feature_is_added_to_the_one_role(tmp_path):
    token_file = tmp_path / "hub.token"
    token_file.write_text("0123456789abcdef\n")
    c = Config()
    exec(block("hub role").replace("/etc/hublatch/hub.token", str(token_file)), {"c": c})
    launching = list(c.JupyterHub.load_roles[0]["scopes"])
    exec(block("tokens scope"), {"c": c})
    (role,), (service,) = c.JupyterHub.load_roles, c.JupyterHub.services
    assert (role["scopes"], role["services"]) == ([*launching, "tokens"], [service["name"]])


@pytest.mark.parametrize("language", ["python", "js"])
def test_a_sample_signs_a_token_that_logs_in_once(language, portal, trusting):
    name, command = RUN[language]
    (portal / name).write_text(sample(language) + SHOW[language])
    ran = subprocess.run([*command, name], cwd=portal, check=True, capture_output=True, text=True, timeout=PATIENCE)
    target = f"{trusting.url}/hub/login?login_token={ran.stdout.strip()}"
    browser = trusting.browser()
    answer = browser.request("GET", target)
    assert (answer.status, answer.location) == (302, "/user/alice/lab"), answer.text
    assert browser.user() == "alice"
    assert trusting.browser().open(target).status == 403
