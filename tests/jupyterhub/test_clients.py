"""The clients, as libraries and as programs: each issues, follows, reads and revokes; and the samples, run."""

import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
import urllib.parse
import urllib.request

import pytest

import launching
from browser import raw
from latch import BINARY
from processes import PATIENCE, ROOT, Process, free_port, wait_until

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


@pytest.fixture(scope="module")
def plain(hub, start_hublatch, tmp_path_factory):
    """Before a hub with pages: in API-only mode its authenticator's call that ends sessions is not routed."""
    latch = start_hublatch(hub, {"hub_tokens": {"users": ["nobody"]}})
    latch.key_file = tmp_path_factory.mktemp("plain") / "app.key"
    latch.key_file.touch(mode=0o600)
    latch.key_file.write_text(latch.key + "\n")
    yield latch
    latch.stop()


def run(latch, *command, check=True, text=None):
    env = {"HUBLATCH_API_URL": latch.management, "HUBLATCH_API_KEY_FILE": str(latch.key_file)}
    return run_with(env, *command, check=check, text=text)


def run_with(env, *command, check=True, text=None):
    inherited = {name: os.environ[name] for name in os.environ if not name.startswith("HUBLATCH_API_")}
    env = {**inherited, "PYTHONPATH": os.pathsep.join([str(CLIENTS / "python"), inherited.get("PYTHONPATH", "")]), **env}
    done = subprocess.run([str(part) for part in command], env=env, capture_output=True, text=True, timeout=PATIENCE, input=text)
    assert not check or done.returncode == 0, done
    return done


PYTHON = [sys.executable, "-m", "hublatch_client"]
NODE = [ROOT / "target/node/bin/node", CLIENTS / "javascript/cli.js"]
CURL = [CLIENTS / "hublatch.sh"]

PYTHON_LIBRARY = """
import json
from hublatch_client import Hublatch, HublatchError
latch = Hublatch.from_environment()
link = latch.link("pia", note="one")
before = latch.status(link); latch.revoke(link); after = latch.read(link)["status"]
two = [link["username"] for link in latch.links([{"username": "one"}, {"username": "two"}])]
gone = latch.revoke_user("one")
again = [latch.link("pia", idempotency_key="once")["id"] for _ in range(2)]
try:
    latch.link("Admin")
except HublatchError as error:
    refused = [error.status, error.code, error.field, error.doc_url, len(error.request_id)]
try:
    Hublatch("http://127.0.0.1:1", "k", retries=0).link("x")
except HublatchError as error:
    nobody = [error.status, error.code]
print(json.dumps([before, after, two, gone, again[0] == again[1], latch.end_sessions("pia"), refused, nobody]))
"""

NODE_LIBRARY = """
const { Hublatch } = await import(process.env.CLIENT);
const latch = Hublatch.fromEnvironment();
const link = await latch.link("pia", { note: "one" });
const before = await latch.status(link); await latch.revoke(link); const after = (await latch.read(link)).status;
const two = (await latch.links([{ username: "one" }, { username: "two" }])).map((link) => link.username);
const gone = await latch.revokeUser("one");
const once = { idempotencyKey: "twice" };
const again = [(await latch.link("pia", once)).id, (await latch.link("pia", once)).id];
const refused = await latch.link("Admin").catch((e) => [e.status, e.code, e.field, e.docUrl, e.requestId.length]);
const nobody = await new Hublatch("http://127.0.0.1:1", "k", { retries: 0 }).link("x").catch((e) => [e.status, e.code]);
console.log(JSON.stringify([before, after, two, gone, again[0] === again[1], await latch.endSessions("pia"), refused, nobody]));
"""

REFUSED = [400, "invalid_username", "username", "/api/v1/errors.md#invalid_username", 32]
EXPECTED = ["pending", "revoked", ["one", "two"], 1, True, 0, REFUSED, [0, "unreachable"]]


def python(env, code, check=True):
    return run_with(env, sys.executable, "-c", code, check=check)


def node(env, code, check=True):
    env = {**env, "CLIENT": (CLIENTS / "javascript/index.js").as_uri()}
    return run_with(env, NODE[0], "--input-type=module", "-", text=code, check=check)


def access(latch):
    return {"HUBLATCH_API_URL": latch.management, "HUBLATCH_API_KEY_FILE": str(latch.key_file)}


def test_the_python_library(plain):
    assert json.loads(python(access(plain), PYTHON_LIBRARY).stdout) == EXPECTED


def test_the_node_library(plain):
    assert json.loads(node(access(plain), NODE_LIBRARY).stdout) == EXPECTED


WHOSE = {
    "python": (python, "import json, os\nfrom hublatch_client import *\nlatch = Hublatch.from_environment()\n"
               "print(json.dumps([latch.verify(os.environ['TOKEN']), latch.verify('0123456789abcdef')]))"),
    "node": (node, "const { Hublatch } = await import(process.env.CLIENT); const latch = Hublatch.fromEnvironment();"
             "console.log(JSON.stringify([await latch.verify(process.env.TOKEN), await latch.verify('0123456789abcdef')]))"),
}


@pytest.mark.parametrize("language", WHOSE)
def test_the_libraries_tell_whose_a_hub_token_is_and_that_one_is_nobodys(plain, hub, language):
    program, code = WHOSE[language]
    hub.api("POST", f"/users/verified-{language}")
    token = hub.api("POST", f"/users/verified-{language}/tokens", {})["token"]
    owner, nobody = json.loads(program({**access(plain), "TOKEN": token}, code).stdout)
    assert (owner["name"], owner["kind"], owner["groups"], nobody) == (f"verified-{language}", "user", [], None)
    assert owner["scopes"], "what it may do"


def test_the_types_name_every_method_of_the_node_library():
    code = "const { Hublatch } = await import(process.env.CLIENT); console.log(JSON.stringify([Object.getOwnPropertyNames(Hublatch.prototype), Object.keys(new Hublatch('unix:/x', 'k'))]));"
    methods, fields = json.loads(node({}, code).stdout)
    types = (CLIENTS / "javascript/index.d.ts").read_text()
    assert fields == [] and sorted(methods) == sorted(name for name in methods if f"  {name}(" in types)


def test_the_python_library_is_typed_to_the_last_line():
    mypy = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--cache-dir", os.devnull]
    run_with({}, *mypy, CLIENTS / "python/hublatch_client")


USE = """
import { Hublatch, HublatchError, type IssuedLink, type Owner } from "@hublatch/client";
const latch = new Hublatch("http://127.0.0.1:8010", "key", { caFile: "/ca.pem", ca: new Uint8Array(), retries: 0 });
const link: IssuedLink = await latch.link("ada", { path: "lab", launch: { profile: "gpu" }, idempotencyKey: "once" });
const all: string[] = (await latch.links([{ username: "ada" }])).map((each) => each.url);
const status: "pending" | "used" | "expired" | "revoked" = await latch.status(link);
const counted: number = (await latch.revokeUser("ada")) + (await latch.endSessions("ada"));
const owner: Owner | null = await latch.verify("token");
for await (const event of latch.progress(link)) { const ready: boolean | undefined = event.ready; void ready; }
await latch.revoke(link);
const error: Error = new HublatchError("no");
void [all, status, counted, owner, error];
"""


def checked_by_typescript(folder, text):
    """What the compiler says of a program of somebody who has installed the package."""
    (folder / "node_modules/@hublatch").mkdir(parents=True, exist_ok=True)
    installed = folder / "node_modules/@hublatch/client"
    if not installed.exists():
        installed.symlink_to(CLIENTS / "javascript")
    (folder / "use.mts").write_text(text)
    options = ["--strict", "--noEmit", "--module", "nodenext", "--target", "es2022"]
    compiler = ROOT / "target/typescript/node_modules/typescript/bin/tsc"
    done = subprocess.run([NODE[0], compiler, *options, "use.mts"], cwd=folder, capture_output=True, text=True, timeout=PATIENCE)
    return done.returncode, done.stdout


def test_the_types_of_the_node_library_hold_a_program_to_them(tmp_path):
    assert checked_by_typescript(tmp_path, USE) == (0, "")
    code, said = checked_by_typescript(tmp_path, USE.replace("const owner: Owner | null", "const owner: Owner"))
    assert code != 0 and "'null'" in said, said


# --- what passes by itself


class Flaky(http.server.BaseHTTPRequestHandler):
    """Answers by the server's script of (status, headers, body), and keeps what it was asked."""

    def _answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.command, self.path, self.headers.get("Idempotency-Key"), body.decode()))
        status, headers, answer = self.server.script.pop(0)
        text = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(text))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_GET = do_DELETE = _answer

    def log_message(self, *_):
        pass


@pytest.fixture
def flaky():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Flaky)
    server.seen, server.script = [], []
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


AWAY = (503, {}, {"status": 503, "code": "store_unavailable", "message": "away"})
LINK = (201, {}, {"id": "x", "url": "http://x/", "status": "pending"})
LATER = (429, {"Retry-After": "60"}, {"status": 429, "code": "rate_limited", "message": "slow down"})
FULL = (503, {}, {"status": 503, "code": "store_full", "message": "full"})

LANGUAGES = {
    "python": (python, "from hublatch_client import *; print(Hublatch.from_environment().{}['id'])", "link('ada')", "links([{'username': 'ada'}])[0]"),
    "node": (node, "const {{ Hublatch }} = await import(process.env.CLIENT); console.log((await Hublatch.fromEnvironment().{}).id)", 'link("ada")', 'links([{ username: "ada" }])'),
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_call_that_found_hublatch_away_is_made_again_under_the_same_key_and_no_other_is(flaky, language):
    program, code, single, batch = LANGUAGES[language]
    env = {"HUBLATCH_API_URL": f"http://127.0.0.1:{flaky.server_port}", "HUBLATCH_API_KEY": "k"}
    flaky.script = [AWAY, AWAY, LINK]
    assert program(env, code.format(single)).stdout.strip() == "x"
    keys = {key for _, _, key, _ in flaky.seen}
    assert len(flaky.seen) == 3 and len(keys) == 1 and None not in keys, flaky.seen
    for script, call in (([LATER], single), ([FULL], single), ([AWAY], batch)):
        flaky.script, flaky.seen = list(script), []
        done = program(env, code.format(call), check=False)
        assert (done.returncode != 0, len(flaky.seen)) == (True, 1), done


# --- where hublatch listens elsewhere


@pytest.fixture(scope="module")
def elsewhere(hub, start_hublatch, tmp_path_factory):
    """The API of one hublatch at a socket, of another over TLS with a certificate that nobody else trusts."""
    folder = tmp_path_factory.mktemp("elsewhere")
    certificate, private = folder / "api.pem", folder / "api.key"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=api -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*command.split(), "-out", certificate, "-keyout", private], check=True, capture_output=True)
    private.chmod(0o600)
    tls = {"certificate": str(certificate), "private_key": str(private)}
    secure = start_hublatch(hub, {"management": {"listen": "127.0.0.1:0"}, "management.tls": tls})
    # Only for those who prove a certificate that this one vouches for: itself.
    known = start_hublatch(hub, {"management": {"listen": "127.0.0.1:0"}, "management.tls": {**tls, "client_ca": str(certificate)}})
    local = start_hublatch(hub, {"management": {"listen": f"unix:{folder}/api.sock"}})
    yield {
        "socket": ({"HUBLATCH_API_URL": f"unix:{folder}/api.sock", "HUBLATCH_API_KEY": local.key}, []),
        "authority": (
            {"HUBLATCH_API_URL": secure.management.replace("http:", "https:"), "HUBLATCH_API_KEY": secure.key},
            ["--ca-file", certificate],
        ),
        "certificate": {
            "HUBLATCH_API_URL": known.management.replace("http:", "https:"),
            "HUBLATCH_API_KEY": known.key,
            "CERTIFICATE": str(certificate),
            "PRIVATE": str(private),
        },
    }
    known.stop()
    secure.stop()
    local.stop()


@pytest.mark.parametrize("program", [PYTHON, NODE], ids=["python", "node"])
@pytest.mark.parametrize("place", ["socket", "authority"])
def test_a_socket_and_an_authority_of_ones_own_will_do(elsewhere, program, place):
    env, options = elsewhere[place]
    assert "/hub/login?login_token=hl_" in run_with(env, *program, "ada", *options).stdout
    if options:
        done = run_with(env, *program, "ada", check=False)
        assert (done.returncode, done.stdout) == (1, ""), "nobody vouches for it"


PROVING = {
    "python": (python, "import os\nfrom hublatch_client import *\nfile = os.environ['CERTIFICATE']\n"
               "latch = Hublatch.from_environment(ca_file=file, certificate={})\nprint(latch.link('ada')['username'])",
               "(file, os.environ['PRIVATE'])", "None"),
    "node": (node, "const {{ Hublatch }} = await import(process.env.CLIENT);"
             "const {{ readFileSync }} = await import('node:fs'); const file = process.env.CERTIFICATE;"
             "const latch = Hublatch.fromEnvironment({{ caFile: file, retries: 0, {} }});"
             "console.log((await latch.link('ada')).username)",
             "cert: readFileSync(file), clientKey: readFileSync(process.env.PRIVATE)", ""),
}


@pytest.mark.parametrize("language", PROVING)
def test_where_hublatch_wants_a_certificate_the_libraries_have_one(elsewhere, language):
    program, code, own, none = PROVING[language]
    assert program(elsewhere["certificate"], code.format(own)).stdout.strip() == "ada"
    refused = program(elsewhere["certificate"], code.format(none), check=False)
    assert (refused.returncode != 0, refused.stdout) == (True, ""), refused


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


# --- the samples, each as its reader would run it


def leads_in(latch, url, user):
    link = urllib.parse.urlsplit(url)
    assert link.path == "/hub/login" and "login_token=hl_" in link.query, url
    browser = latch.browser()
    browser.open(url)
    return browser.user() == user


FLASK = """
import json, sys
sys.path.insert(0, sys.argv[1])
from flask_app import app
client = app.test_client()
assert client.post("/notebook").status_code == 401
assert b"Log in" in client.get("/").data
client.post("/login", data={"name": "flo"})
assert b"To my notebook" in client.get("/").data
answer = client.post("/notebook")
assert client.get("/notebook").status_code == 405
print(json.dumps([answer.status_code, answer.headers["Cache-Control"], answer.headers["Location"]]))
assert client.post("/logout").status_code == 303
"""

DJANGO = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from django.conf import settings
settings.configure(HUBLATCH_URL=os.environ["HUBLATCH_API_URL"], HUBLATCH_KEY=open(os.environ["HUBLATCH_API_KEY_FILE"]).read())
from django.test import RequestFactory
import django_views
class User:
    is_authenticated = True
    def get_username(self): return "dja"
def asked(method, user):
    request = getattr(RequestFactory(), method)("/notebook")
    request.user = user
    return django_views.notebook(request)
answer = asked("post", User())
assert asked("get", User()).status_code == 405
print(json.dumps([answer.status_code, answer["Cache-Control"], answer["Location"]]))
django_views.end_sessions(None, None, User())
"""


@pytest.mark.parametrize(("code", "user"), [(FLASK, "flo"), (DJANGO, "dja")], ids=["flask", "django"])
def test_the_views_for_flask_and_django_lead_into_the_notebook(plain, code, user):
    env = {**access(plain), "SECRET_KEY": "s"}
    done = run_with(env, sys.executable, "-c", code, CLIENTS / "python/examples")
    status, cached, url = json.loads(done.stdout)
    assert status == 303 and "no-store" in cached
    # It was issued before the logout, which makes links that wait dead.
    assert plain.browser().open(url).status == 403
    again = run_with(env, sys.executable, "-c", code.rsplit("\n", 2)[0], CLIENTS / "python/examples")
    assert leads_in(plain, json.loads(again.stdout)[2], user)


def test_the_page_in_php_leads_into_the_notebook(latch, tmp_path):
    # In the place of the application's own login.
    login = tmp_path / "login.php"
    code = 'if (!isset($_GET["nobody"])) { session_id("phil"); session_start(); $_SESSION["user"] = "phil"; session_write_close(); }'
    login.write_text(f"<?php {code}\nrequire '{CLIENTS}/php/notebook.php';\n")
    port = free_port()
    options = ["-d", f"session.save_path={tmp_path}", "-S", f"127.0.0.1:{port}"]
    page = Process("php", tmp_path, [shutil.which("php"), *options, login], access(latch))
    try:
        url = f"http://127.0.0.1:{port}"

        def answers():
            try:
                return urllib.request.urlopen(url, timeout=PATIENCE).read()
            except OSError:
                return False

        assert b"<button>" in wait_until(answers, PATIENCE, "php to answer")
        assert raw("POST", f"{url}/?nobody", body=b"").status == 401
        answer = raw("POST", url, body=b"")
        assert (answer.status, answer.header("Cache-Control")) == (303, "no-store")
        assert leads_in(latch, answer.location, "phil")
    finally:
        page.stop()


def test_the_class_in_java_issues_a_link_and_tells_what_is_wrong(latch):
    java = [shutil.which("java"), CLIENTS / "java/Hublatch.java"]
    assert leads_in(latch, run(latch, *java, "jo", "lab").stdout.strip(), "jo")
    refused = run(latch, *java, "J\"o", "lab", check=False)
    assert (refused.returncode, refused.stdout) == (1, "") and "invalid_username" in refused.stderr
