"""The clients to copy, as libraries and as programs: each issues, follows, reads and revokes."""

import json
import os
import subprocess
import sys

import pytest

import launching
from latch import BINARY
from processes import PATIENCE, ROOT

CLIENTS = ROOT / "examples/clients"


@pytest.fixture(scope="module")
def latch(start_hub, start_hublatch, tmp_path_factory):
    latch = launching.start(start_hub, start_hublatch, tmp_path_factory.mktemp("clients"), api_only=True)
    latch.key_file = latch.folder / "app.key"
    latch.key_file.touch(mode=0o600)
    latch.key_file.write_text(latch.key + "\n")
    yield latch
    latch.stop()
    latch.hub.kill()


def run(latch, *command, check=True, text=None):
    env = {"HUBLATCH_API_URL": latch.management, "HUBLATCH_API_KEY_FILE": str(latch.key_file)}
    return run_with(env, *command, check=check, text=text)


def run_with(env, *command, check=True, text=None):
    env = {**{name: os.environ[name] for name in os.environ if not name.startswith("HUBLATCH_API_")}, **env}
    done = subprocess.run([str(part) for part in command], env=env, capture_output=True, text=True, timeout=PATIENCE, input=text)
    assert not check or done.returncode == 0, done
    return done


PYTHON = [sys.executable, CLIENTS / "hublatch.py"]
NODE = [ROOT / "target/node/bin/node", CLIENTS / "hublatch.mjs"]
CURL = [CLIENTS / "hublatch.sh"]

PYTHON_LIBRARY = """
import importlib.util, json, os
spec = importlib.util.spec_from_file_location("client", {file!r})
client = importlib.util.module_from_spec(spec); spec.loader.exec_module(client)
latch = client.Hublatch(os.environ["HUBLATCH_API_URL"], open(os.environ["HUBLATCH_API_KEY_FILE"]).read())
link = latch.link("pia", note="one")
before = latch.status(link); latch.revoke(link); after = latch.status(link)
two = [link["username"] for link in latch.links([{{"username": "one"}}, {{"username": "two"}}])]
try:
    latch.link("Admin")
except client.HublatchError as error:
    refused = [error.status, error.code]
try:
    client.Hublatch("http://127.0.0.1:1", "k").link("x")
except client.HublatchError as error:
    gone = [error.status, error.code]
print(json.dumps([before, after, two, refused, gone]))
"""

NODE_LIBRARY = """
import {{ readFileSync }} from "node:fs";
const {{ Hublatch }} = await import({file!r});
const latch = new Hublatch(process.env.HUBLATCH_API_URL, readFileSync(process.env.HUBLATCH_API_KEY_FILE, "ascii"));
const link = await latch.link("pia", {{ note: "one" }});
const before = await latch.status(link); await latch.revoke(link); const after = await latch.status(link);
const two = (await latch.links([{{ username: "one" }}, {{ username: "two" }}])).map((link) => link.username);
const said = (error) => [error.status, error.code];
const refused = await latch.link("Admin").catch(said);
const gone = await new Hublatch("http://127.0.0.1:1", "k").link("x").catch(said);
console.log(JSON.stringify([before, after, two, refused, gone]));
"""

EXPECTED = ["pending", "revoked", ["one", "two"], [400, "invalid_username"], [0, "unreachable"]]


def test_the_python_library(latch):
    code = PYTHON_LIBRARY.format(file=str(CLIENTS / "hublatch.py"))
    assert json.loads(run(latch, sys.executable, "-I", "-c", code).stdout) == EXPECTED


def test_the_node_library(latch):
    code = NODE_LIBRARY.format(file=(CLIENTS / "hublatch.mjs").as_uri())
    assert json.loads(run(latch, NODE[0], "--input-type=module", "-", text=code).stdout) == EXPECTED


@pytest.mark.parametrize(("program", "user"), [(PYTHON, "py"), (NODE, "js")], ids=["python", "node"])
def test_the_programs_launch_and_follow_to_the_end(latch, program, user):
    done = run(latch, *program, user, "--server", "slow", "--path", "lab", "--launch")
    lines = done.stderr.splitlines()
    assert sum("Step" in line for line in lines) >= 3, lines
    assert lines[-1].startswith("100 % Server ready")
    browser = latch.browser()
    page = browser.open(done.stdout.strip())
    assert (page.status, page.path) == (200, f"/user/{user}/slow/lab"), "without a wait: it is ready"


@pytest.mark.parametrize("program", [PYTHON, NODE], ids=["python", "node"])
def test_the_programs_tell_of_a_failure(latch, program):
    done = run(latch, *program, "failing", "--server", "broken", "--launch", check=False)
    assert done.returncode == 1
    assert "The image <b>does not</b> exist." in done.stderr
    done = run(latch, *program, "Admin", check=False)
    assert (done.returncode, "invalid_username" in done.stderr) == (1, True)


def test_the_shell_script(latch):
    link = json.loads(run(latch, *CURL, "link", '{"username": "sh", "server": "slow", "launch": true}').stdout)
    events = run(latch, *CURL, "progress", link["server"]["progress_url"]).stdout
    assert events.count("Step") == 5 and '"ready":true' in events
    url = run(latch, *CURL, "url", '{"username": "sh", "server": "slow", "path": "lab", "launch": true}').stdout.strip()
    assert latch.browser().open_server(url).path == "/user/sh/slow/lab"
    link = json.loads(run(latch, *CURL, "link", '{"username": "sh"}').stdout)
    run(latch, *CURL, "revoke", link["id"])
    assert json.loads(run(latch, *CURL, "status", link["id"]).stdout)["status"] == "revoked"
    refused = run(latch, *CURL, "link", '{"username": "Admin"}', check=False)
    assert (refused.returncode, json.loads(refused.stdout)["code"]) == (22, "invalid_username")
    usage = run(latch, *CURL, check=False).stderr.splitlines()
    assert usage[0].startswith("hublatch's management API") and usage[-1].startswith("A link is a credential"), usage


EACH = {"python": [*PYTHON, "a"], "node": [*NODE, "a"], "curl": [*CURL, "link", "{}"]}


@pytest.mark.parametrize("command", EACH.values(), ids=EACH)
@pytest.mark.parametrize("env", [{}, {"HUBLATCH_API_URL": "http://127.0.0.1:1"}], ids=["nothing", "no key"])
def test_what_is_not_set_is_named(command, env):
    done = run_with(env, *command, check=False)
    assert done.returncode not in (0, 22) and "HUBLATCH_API_" in done.stderr, done
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_the_shell_script_says_why_there_is_no_url(latch):
    refused = run(latch, *CURL, "url", '{"username": "Admin"}', check=False)
    assert (refused.returncode, refused.stdout) == (22, ""), refused
    assert '"code":"invalid_username"' in refused.stderr, refused


def test_the_shell_script_takes_what_the_others_take(latch):
    env = {"HUBLATCH_API_URL": latch.management + "/", "HUBLATCH_API_KEY": latch.key}
    assert run_with(env, *CURL, "url", '{"username": "sh"}').stdout.startswith("http")
    for words in [["link"], ["status"], ["link", "{}", "more"]]:
        usage = run_with(env, *CURL, *words, check=False)
        assert (usage.returncode, usage.stdout) == (2, ""), usage
        assert usage.stderr.startswith("hublatch's management API"), usage


ASKERS = {"python": [*PYTHON, "a"], "node": [*NODE, "a"], "curl": [*CURL, "url", '{"username": "a"}'], "cli": [BINARY, "link", "a"]}


@pytest.mark.parametrize("command", ASKERS.values(), ids=ASKERS)
def test_the_public_address_is_not_taken_for_an_answer(latch, command):
    done = run_with({"HUBLATCH_API_URL": latch.url, "HUBLATCH_API_KEY": latch.key}, *command, check=False)
    assert (done.returncode != 0, done.stdout) == (True, ""), done
    said = done.stderr.splitlines()[-1]
    assert "no word of hublatch" in said and "the management address?" in said, done


@pytest.mark.parametrize("command", ASKERS.values(), ids=ASKERS)
@pytest.mark.parametrize("url", ["127.0.0.1:8001", "localhost:8001"])
def test_an_address_without_its_scheme_is_told_so(command, url):
    done = run_with({"HUBLATCH_API_URL": url, "HUBLATCH_API_KEY": "k"}, *command, check=False)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1), done
    assert "http://" in done.stderr, done


def test_the_key_stands_on_no_command_line(latch):
    assert latch.key not in (CLIENTS / "hublatch.sh").read_text()
    assert "--header @-" in (CLIENTS / "hublatch.sh").read_text()


def test_the_command_line_of_hublatch_itself(latch):
    url = run(latch, BINARY, "link", "cli", "--server", "named", "--path", "lab", "--launch").stdout.strip()
    browser = latch.browser()
    assert browser.open_server(url).path == "/user/cli/named/lab"
