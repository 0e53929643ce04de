"""The confirm page in Chromium: with the keyboard alone, without script, under every referrer policy of the app's page,
and before a hub that leads on to subdomains."""

import urllib.request
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from chromium import PATIENCE, launcher, posts, show, wait_for
from processes import free_port
from test_real_browser import chromium, page  # noqa: F401

POLICIES = ["no-referrer", "same-origin", "strict-origin"]


@pytest.fixture(scope="module")
def asking(hub, start_hublatch):
    """Asks before each login."""
    return start_hublatch(hub, {"login": {"confirm": "always"}})


def app_page(page, policy, body):  # noqa: F811
    """A page of the app's site that tells of itself what `policy` lets it."""
    page.route("http://app.localhost/", lambda route: route.fulfill(
        content_type="text/html",
        headers={"Referrer-Policy": policy, "Content-Type": "text/html"},
        body=f"<title>app</title>{body}",
    ))  # fmt: skip
    page.goto("http://app.localhost/")


def test_the_keyboard_is_enough(asking, page):  # noqa: F811
    page.goto(asking.issue("rosa", next="/hub/home")["url"])
    button = page.get_by_role("button", name="Continue as rosa")
    expect(button).not_to_be_focused()
    page.keyboard.press("Tab")
    expect(button).to_be_focused()
    show(page, "confirm-focus")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{asking.url}/hub/home")
    expect(page.locator("body")).to_contain_text("rosa")


def test_a_screen_reader_hears_what_the_page_is_and_what_the_button_does(asking, page):  # noqa: F811
    page.goto(asking.issue("rosa", next="/hub/home")["url"])
    main = page.get_by_role("main", name="Continue as rosa")
    expect(main.get_by_role("heading", level=1)).to_have_text("Continue as rosa")
    expect(main.get_by_role("button")).to_have_accessible_name("Continue as rosa")
    # The picture is decoration.
    expect(main.get_by_role("img")).to_have_count(0)


def test_no_script_is_needed(asking, chromium):  # noqa: F811
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()  # noqa: F811
    page.goto(asking.issue("sara", next="/hub/home")["url"])
    page.get_by_role("button", name="Continue as sara").click()
    page.wait_for_url(f"{asking.url}/hub/home")
    context.close()


@pytest.mark.parametrize("policy", POLICIES)
def test_a_link_on_a_page_with_this_referrer_policy_is_confirmed(policy, asking, page):  # noqa: F811
    link = asking.issue("tina", next="/hub/home")
    app_page(page, policy, f"<a href='{link['url']}'>Open</a>")
    sent = posts(page)
    page.get_by_text("Open").click()
    page.get_by_role("button", name="Continue as tina").click()
    page.wait_for_url(f"{asking.url}/hub/home")
    expect(page.locator("body")).to_contain_text("tina")
    # The form holds the token; no address does.
    wait_for(page, lambda: sent, "the post to be told of")
    assert [url for url, _ in sent] == [f"{asking.url}/hub/login"]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_form_on_a_page_with_this_referrer_policy_is_confirmed(policy, asking, page):  # noqa: F811
    link = asking.issue("uta")
    form = (
        f"<form method=post action='{asking.url}/hub/login'>"
        f"<input type=hidden name=login_token value='{link['login_token']}'>"
        "<input type=hidden name=next value='/hub/home'><button>Open</button></form>"
    )
    app_page(page, policy, form)
    page.get_by_role("button", name="Open").click()
    page.get_by_role("button", name="Continue as uta").click()
    page.wait_for_url(f"{asking.url}/hub/home")
    expect(page.locator("body")).to_contain_text("uta")
    assert asking.audit(link).count("redeemed") == 1


@pytest.fixture(scope="module")
def subdomains(start_hub, start_hublatch):
    """A hub whose servers have a subdomain each: *.localhost is this machine."""
    port = free_port()
    origin = f"http://hub.localhost:{port}"
    hub = start_hub(extra=f"c.JupyterHub.subdomain_host = {origin!r}\n")
    return start_hublatch(
        hub,
        {"public": {"listen": f"127.0.0.1:{port}", "url": origin}, "login": {"confirm": "always"}},
    )


def test_the_button_leads_on_to_the_subdomain_of_the_server(subdomains, page):  # noqa: F811
    refused = []
    page.on("console", lambda message: refused.append(message.text) if "Content Security" in message.text else None)
    link = subdomains.issue("vera", path="lab")
    page.goto(link["url"])
    page.get_by_role("button", name="Continue as vera").click()
    expect(launcher(page)).to_be_visible(timeout=PATIENCE)
    assert urlsplit(page.url).hostname.endswith(".hub.localhost"), page.url
    # Again, now that the server runs: the post itself leads to the other origin.
    page.goto(subdomains.issue("vera", path="lab")["url"])
    page.get_by_role("button", name="Continue as vera").click()
    expect(launcher(page)).to_be_visible(timeout=PATIENCE)
    assert urlsplit(page.url).hostname.endswith(".hub.localhost"), page.url
    assert not refused


def test_chromium_would_stop_there_if_the_form_might_lead_to_this_origin_alone(subdomains, page):  # noqa: F811
    """Why the policy names the subdomains; and that it is held to what it says."""

    def narrow(route):
        if route.request.method != "GET":
            return route.continue_()
        parts = urlsplit(route.request.url)
        # Only Chromium knows that *.localhost is this machine.
        request = urllib.request.Request(
            parts._replace(netloc=f"127.0.0.1:{parts.port}").geturl(), headers={"Host": parts.netloc, "Accept": "text/html"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            headers, body = {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        policy = headers["content-security-policy"]
        ours, _, rest = policy.partition("form-action ")
        headers["content-security-policy"] = f"{ours}form-action 'self';{rest.partition(';')[2]}"
        assert headers["content-security-policy"] != policy
        return route.fulfill(headers=headers, body=body)

    page.route("**/hub/login?*", narrow)
    page.goto(subdomains.issue("vera", path="lab")["url"])
    with page.expect_console_message(lambda message: "form-action" in message.text):
        page.get_by_role("button", name="Continue as vera").click()
