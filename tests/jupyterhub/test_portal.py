"""The sample app: what it asks hublatch for, what it shows, and whom it refuses."""

import base64
import hashlib
import os
import re
import subprocess
import sys
from html import escape, unescape

import pytest

from browser import raw
from processes import PATIENCE, free_port
from sample_app import KEY, LINK, PORTAL, FakeApi, Fields, Portal


@pytest.fixture
def api():
    server = FakeApi()
    yield server
    server.stop()


@pytest.fixture
def start_portal(api, tmp_path):
    started = []

    def start(**settings):
        started.append(Portal(tmp_path, **{"HUBLATCH_API_URL": api.url, **settings}))
        return started[-1]

    yield start
    for portal in started:
        portal.process.stop()


@pytest.fixture
def portal(start_portal):
    return start_portal()


def form(**changes):
    return {"username": "alice", "kind": "default", "server": "", "path": "lab", **changes}


def alert(page):
    found = re.search(r'<p id="(\w+)-error" class="error" role="alert">(.*?)</p>', page.text)
    assert found, page.text[-2000:]
    return found[1], found[2]


# ---- the call ----


def test_the_button_asks_for_one_link_and_sends_the_browser_there(portal, api):
    answer = portal.post(form())
    assert (answer.status, answer.header("Location")) == (303, LINK)
    [(path, headers, body)] = api.requests
    assert path == "/api/v1/links"
    assert body == {"username": "alice", "path": "lab"}
    assert headers["Authorization"] == f"token {KEY}"
    assert headers["Content-Type"] == "application/json"
    # hublatch refuses what looks like a browser.
    assert not {"Origin", "Referer", "Cookie"} & set(headers)


def hidden_fields(page):
    found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', page.text)
    return {name: unescape(value) for name, value in found}


def test_a_form_takes_the_link_apart_so_that_the_token_stands_in_no_address(start_portal, api):
    api.answer = 201, {"url": LINK + "&next=%2Fuser%2Falice%2Flab%2F%22%3E%3Cscript%3E"}
    page = start_portal(PORTAL_SEND="form").post(form())
    assert (page.status, page.header("Location")) == (200, None)
    address, token = LINK.split("?login_token=")
    assert f'<form method="post" action="{address}">' in page.text
    assert hidden_fields(page) == {"login_token": token, "next": '/user/alice/lab/"><script>'}
    # Its policy admits the one script there is.
    (script,) = re.findall(r"<script>(.*?)</script>", page.text)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert page.header("Content-Security-Policy").endswith(f"; script-src 'sha256-{digest}'")
    assert page.header("Cache-Control") == "no-store"


def test_what_hublatch_sends_a_browser_with_comes_back_with_the_link(portal, api):
    page = portal.get("/?state=S%22%3E&next=%2Fuser%2Falice%2Ftree&redirect_uri=http%3A%2F%2F127.0.0.1%2F")
    carried = hidden_fields(page)
    assert carried == {"state": 'S">', "next": "/user/alice/tree"}
    assert portal.post(form(**carried)).status == 303
    assert api.requests[0][2] == {"username": "alice", **carried}
    # Without a `next` the path is the app's to choose.
    portal.post(form(state="S"))
    assert api.requests[1][2] == {"username": "alice", "path": "lab", "state": "S"}


def test_an_error_keeps_what_came_with_the_browser(portal, api):
    api.refuse(400, "invalid_username", "no")
    assert hidden_fields(portal.post(form(state="S", next="/hub/home"))) == {"state": "S", "next": "/hub/home"}


def test_a_path_in_the_address_of_the_api_is_kept(start_portal, api):
    assert start_portal(HUBLATCH_API_URL=api.url + "/hublatch/").post(form()).status == 303
    assert api.requests[0][0] == "/hublatch/api/v1/links"


def test_a_proxy_of_the_environment_never_sees_the_key(start_portal, api):
    portal = start_portal(http_proxy="http://127.0.0.1:9", HTTP_PROXY="http://127.0.0.1:9", no_proxy="")
    assert portal.post(form()).status == 303
    assert len(api.requests) == 1


def test_a_redirect_of_the_api_is_not_followed_with_the_key(portal, api):
    api.answer = 307, b""
    assert portal.post(form()).status == 400
    assert len(api.requests) == 1


@pytest.mark.parametrize(
    "typed, asked",
    [
        ({"kind": "named", "server": "gpu-1"}, "gpu-1"),
        ({"kind": "named", "server": " gpu-1 "}, "gpu-1"),
        ({"kind": "default", "server": "gpu-1"}, None),
    ],
)
def test_a_server_is_named_only_if_that_was_chosen(portal, api, typed, asked):
    portal.post(form(**typed))
    assert api.requests[0][2].get("server") == asked


def test_a_named_server_without_a_name_is_asked_for_again(portal, api):
    page = portal.post(form(kind="named"))
    assert page.status == 400
    assert alert(page)[0] == "server"
    assert api.requests == []


@pytest.mark.parametrize(
    "typed, asked",
    [
        ("", "lab"),
        ("/", "lab"),
        (" /lab/tree/x.ipynb ", "lab/tree/x.ipynb"),
        ("lab/tree/week 1.ipynb", "lab/tree/week%201.ipynb"),
        ("lab/tree/a%2Fb%20c.ipynb", "lab/tree/a%2Fb%20c.ipynb"),
        ("lab/tree/größe.ipynb", "lab/tree/gr%C3%B6%C3%9Fe.ipynb"),
        ("lab?reset&x=1", "lab?reset&x=1"),
        ("tree/a#b", "tree/a%23b"),
        ("a\r\nb\\c", "a%0D%0Ab%5Cc"),
    ],
)
def test_the_path_is_escaped_as_in_an_address_line(portal, api, typed, asked):
    portal.post(form(path=typed))
    assert api.requests[0][2]["path"] == asked


def test_a_key_file_is_read_again_for_each_link(start_portal, api, tmp_path):
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    portal = start_portal(HUBLATCH_API_KEY_FILE=str(file), HUBLATCH_API_KEY="not this one")
    portal.post(form())
    file.write_text("hk_new")
    portal.post(form())
    assert [headers["Authorization"] for _, headers, _ in api.requests] == [f"token {KEY}", "token hk_new"]


def test_the_second_button_asks_for_a_launch_where_there_is_one(start_portal, api):
    portal = start_portal(PORTAL_LAUNCH="1", PORTAL_USER="ada")
    page = portal.get()
    assert '<button name="launch" value="1"' in page.text
    assert Fields(page.text).inputs["username"]["value"] == "ada"
    portal.post(form(launch="1"))
    portal.post(form())
    assert [body.get("launch") for _, _, body in api.requests] == [True, None]


# ---- what is shown ----


@pytest.mark.parametrize(
    "status, code, message, blamed",
    [
        (400, "invalid_username", "username must match ^[a-z]$", "username"),
        (422, "invalid_server", "a server name starts with a letter", "server"),
        (422, "invalid_path", "no dot segments", "path"),
        (429, "rate_limited", "100 links a second is the limit", "form"),
        (503, "store_unavailable", "the store does not answer", "form"),
    ],
)
def test_an_error_of_the_api_is_shown_in_its_words_beside_what_was_typed(portal, api, status, code, message, blamed):
    api.refuse(status, code, message)
    page = portal.post(form(kind="named", server="gpu", path="tree"))
    assert page.status == 400
    assert alert(page) == (blamed, escape(message[0].upper() + message[1:] + "."))
    fields = Fields(page.text)
    assert {name: fields.inputs[name].get("value") for name in ("username", "server", "path")} == {
        "username": "alice",
        "server": "gpu",
        "path": "tree",
    }
    assert "checked" in fields.radios["named"] and "checked" not in fields.radios["default"]
    assert [name for name in fields.inputs if "aria-invalid" in fields.inputs[name]] == ([blamed] if blamed != "form" else [])
    assert f"{status} {code}" in portal.process.log


def test_a_refused_key_is_said_to_be_the_portals_fault(portal, api):
    api.refuse(401, "unauthorized", "unknown key")
    assert "this portal's key" in alert(portal.post(form()))[1].replace("&#x27;", "'")


@pytest.mark.parametrize(
    "answer",
    [(500, b"<h1>Internal error</h1>"), (201, {"no": "url"}), (400, ["a list"]), (201, b"\xff\xfe"), (400, {"message": None, "code": None})],
)
def test_an_answer_that_is_not_the_apis_is_an_error_in_words(portal, api, answer):
    api.answer = answer
    page = portal.post(form())
    assert page.status == 400
    assert alert(page)[1] == "The login service does not answer. Try again in a minute."


def test_an_api_that_is_down_is_an_error_in_words(start_portal):
    page = start_portal(HUBLATCH_API_URL=f"http://127.0.0.1:{free_port()}").post(form())
    assert page.status == 400
    assert alert(page)[1] == "The login service does not answer. Try again in a minute."


def test_a_key_file_that_is_gone_is_an_error_in_words(start_portal, tmp_path):
    page = start_portal(HUBLATCH_API_KEY_FILE=str(tmp_path / "gone")).post(form())
    assert page.status == 400
    assert alert(page)[1] == "The login service does not answer. Try again in a minute."


HOSTILE = "\"'><script>alert(1)</script>&amp;"


@pytest.mark.parametrize("field", ["username", "server", "path"])
def test_what_is_typed_is_escaped(portal, api, field):
    api.refuse(400, "no", "no")
    page = portal.post(form(kind="named", **{"server": "x", field: HOSTILE}))
    assert "<script" not in page.text
    assert Fields(page.text).inputs[field]["value"] == HOSTILE


def test_what_the_api_says_and_the_portals_name_are_escaped(start_portal, api):
    api.refuse(400, HOSTILE, HOSTILE)
    page = start_portal(PORTAL_NAME=HOSTILE).post(form())
    assert "<script" not in page.text
    assert page.text.count(escape(HOSTILE)) == 3  # title, head of the page, error


def test_every_field_has_a_label_and_every_radio_a_legend(portal):
    fields = Fields(portal.get().text)
    assert set(fields.inputs) == {"username", "server", "path"}
    assert {field["id"] for field in fields.inputs.values()} == fields.labels_for
    assert fields.radios_in_label == {"default", "named"}
    assert fields.legends == 1
    assert "autofocus" in fields.inputs["username"]
    assert fields.inputs["path"]["value"] == "lab"
    assert "checked" in fields.radios["default"]
    assert portal.get().text.count("<button") == 1


@pytest.mark.parametrize("make", [lambda p: p.get(), lambda p: p.post(form()), lambda p: p.post(form(kind="named"))])
def test_every_answer_forbids_scripts_frames_and_caches(portal, make):
    answer = make(portal)
    assert answer.header("Cache-Control") == "no-store"
    assert "default-src 'none'" in answer.header("Content-Security-Policy")
    assert "frame-ancestors 'none'" in answer.header("Content-Security-Policy")
    assert answer.header("X-Content-Type-Options") == "nosniff"
    assert "<script" not in answer.text and "http" not in re.sub(r"http://www\.w3\.org/2000/svg", "", answer.text)


def test_neither_key_nor_link_is_in_a_page_or_in_the_log(portal, api):
    pages = [portal.get(), portal.post(form())]
    api.refuse(401, "unauthorized", "unknown key")
    pages.append(portal.post(form()))
    for text in [*(page.text for page in pages), portal.process.log]:
        assert KEY not in text and "hl_" not in text


# ---- whom it refuses ----


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": ""},
        {},
    ],
    ids=str,
)
def test_a_form_of_another_site_gets_no_link(portal, api, headers):
    page = portal.post(form(username="mallory"), headers)
    assert page.status == 403
    assert api.requests == []
    assert "mallory" not in page.text


def test_a_browser_without_fetch_metadata_is_known_by_its_origin(portal, api):
    assert portal.post(form(), {"Origin": portal.url}).status == 303


@pytest.mark.parametrize(
    "headers, body, status",
    [
        ([("Content-Length", str(16 * 1024 + 1))], None, 413),
        ([("Content-Length", "-1")], None, 411),
        ([("Content-Length", "١")], None, 411),
        ([], None, 411),
        ([], "username=aliçe".encode(), 400),
        ([], b"&".join([b"a=b"] * 11), 400),
    ],
    ids=["too large", "negative", "not ASCII", "no length", "not ASCII form", "too many fields"],
)
def test_a_form_that_no_browser_sends_is_refused(portal, api, headers, body, status):
    headers = [(name, value.encode()) for name, value in headers]
    assert raw("POST", portal.url + "/", [("Origin", portal.url), *headers], body).status == status
    assert api.requests == []


def test_other_paths_are_not_found(portal):
    assert portal.get("/favicon.ico").status == 404
    assert portal.get("/?x=1").status == 200


@pytest.mark.parametrize("given, named", [({"HUBLATCH_API_KEY": KEY}, "HUBLATCH_API_URL"), ({"HUBLATCH_API_URL": "http://x"}, "HUBLATCH_API_KEY")])
def test_a_missing_setting_is_named_in_one_line(given, named):
    env = {name: value for name, value in os.environ.items() if not name.startswith("HUBLATCH_")}
    ended = subprocess.run([sys.executable, PORTAL], env={**env, **given}, capture_output=True, text=True, timeout=PATIENCE)
    assert ended.returncode == 1
    assert ended.stderr.startswith("portal: ") and named in ended.stderr and ended.stderr.count("\n") == 1
