"""A link in a browser where somebody is logged in already: another user, or the same one in another tab."""

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from assertion import good
from browser import Browser, raw
from latch import AS_PROXY
from notebook import Kernel, open_socket, save
from processes import PATIENCE


@pytest.fixture(scope="module")
def anna(latch):
    """Starts anna's server once; the tests log in with browsers of their own."""
    browser = latch.browser()
    assert browser.open_server(latch.issue("anna", path="lab")["url"]).status == 200
    return browser


@pytest.fixture
def tab(latch, anna):
    browser = latch.browser()
    assert browser.open_server(latch.issue("anna", path="lab")["url"]).path == "/user/anna/lab"
    return browser


def test_a_link_for_another_user_asks_first(latch, tab):
    link = latch.issue("boris", next="/hub/home")
    page = tab.open(link["url"])
    assert page.status == 200
    assert "boris" in page.text and "anna" in page.text
    assert latch.status(link) == "pending"
    assert tab.user() == "anna"
    assert save(tab, "/user/anna/", "kept.txt", "still anna").status in (200, 201)


def test_the_button_of_the_confirm_page_switches_the_user(latch, tab):
    kernel = Kernel(tab, "/user/anna/")
    assert kernel.execute("1+1") == "2"
    session = tab.cookie("jupyterhub-session-id")

    link = latch.issue("boris", next="/hub/home")
    page = tab.press(tab.open(link["url"]))

    assert (page.status, page.path) == (200, "/hub/home")
    assert tab.user() == "boris"
    assert latch.status(link) == "used"
    assert tab.cookie("jupyterhub-session-id") not in (None, session)
    assert_out_of_reach(tab, kernel)


def assert_out_of_reach(tab, kernel):
    """Anna's server answers this browser no more, neither on new requests nor on the socket that was open."""
    with pytest.raises(ConnectionClosed):
        for _ in range(1000):  # whatever the kernel had sent before the socket was closed
            kernel.socket.recv(timeout=PATIENCE)
    with pytest.raises(InvalidStatus) as refusal:
        open_socket(tab, kernel.channels)
    assert refusal.value.response.status_code in (302, 403)
    assert tab.fetch("GET", "/user/anna/api/contents/").status == 403
    page = tab.open("/user/anna/lab")
    assert page.status == 403 and "<title>JupyterLab</title>" not in page.text
    assert save(tab, "/user/anna/", "stolen.txt", "as boris").status == 403


def test_whoever_merely_sends_the_id_of_a_session_does_not_close_its_tunnels(latch, tab):
    kernel = Kernel(tab, "/user/anna/")
    session = tab.cookie("jupyterhub-session-id")
    for login in ("", "; jupyterhub-hub-login=junk"):
        cookies = f"jupyterhub-session-id={session}{login}"
        assert raw("GET", f"{latch.url}/hub/logout", [("Cookie", cookies)]).status < 400
    assert kernel.execute("1+1") == "2"

    assert tab.open("/hub/logout").status < 400
    with pytest.raises(ConnectionClosed):
        for _ in range(1000):  # whatever the kernel had sent before the socket was closed
            kernel.socket.recv(timeout=PATIENCE)


def test_no_next_of_the_hubs_own_pages_leads_a_user_off_the_origin(latch, tab):
    for page in ("/hub/login", "/hub/", "/hub/spawn"):
        for evil in ("//%09/evil.example", "/%0A/evil.example", "%2F%5Cevil.example"):
            answer = tab.request("GET", f"{page}?next={evil}")
            assert "evil" not in (answer.header("Location") or ""), (page, evil, answer.location)
    assert tab.request("GET", "/hub/login?next=%2Fhub%2Fhome").location.endswith("/hub/home")


def test_a_link_for_the_same_user_leaves_another_tab_working(latch, tab):
    kernel = Kernel(tab, "/user/anna/")
    token = tab.cookie("_xsrf", "/user/anna/")
    session = tab.cookie("jupyterhub-session-id")

    page = tab.open_server(latch.issue("anna", path="lab/tree")["url"])

    assert (page.status, page.path) == (200, "/user/anna/lab/tree")
    assert tab.cookie("jupyterhub-session-id") == session
    body = {"type": "file", "format": "text", "content": "from the other tab"}
    answer = tab.fetch("PUT", "/user/anna/api/contents/tab.txt", body, xsrf=False, headers={"X-XSRFToken": token})
    assert answer.status in (200, 201)
    assert kernel.execute("1+1") == "2"
    kernel.close()


def test_the_switched_user_gets_a_server_of_their_own(latch, tab):
    page = tab.press(tab.open(latch.issue("boris", path="lab")["url"]))
    page = tab.open_server(page.url)
    assert (page.status, page.path) == (200, "/user/boris/lab")
    assert Kernel(tab, "/user/boris/").execute("__import__('os').environ['JUPYTERHUB_USER']") == "'boris'"


@pytest.mark.skipif(AS_PROXY, reason="there is no other proxy of the hub here")
def test_our_authenticator_alone_ends_the_earlier_session_too(hub):
    """Whatever stands in front: a proven login for another user is enough for the hub."""
    browser = Browser(hub.public_url)
    login = {"X-Hublatch-Assertion": good(hub.key, "anna")}
    page = browser.open_server("/hub/login?next=/hub/spawn/anna", headers=login)
    assert (page.status, page.path) == (200, "/user/anna/lab")
    browser.open("/hub/login?next=/hub/home", headers={"X-Hublatch-Assertion": good(hub.key, "boris")})
    assert browser.user() == "boris"
    assert browser.open("/user/anna/lab").status == 403
