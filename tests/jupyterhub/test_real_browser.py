"""Chromium follows links, as people do; what it shows is kept in target/screenshots."""

import pytest
from playwright.sync_api import expect, sync_playwright

from chromium import PATIENCE, compute, launch, launcher, show
from processes import wait_until


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    context = chromium.new_context()
    yield context.new_page()
    context.close()


def app_page(page, latch, link):
    """A page of the app, on another origin than hublatch's, with the link to click on."""
    page.route("http://app.localhost/", lambda route: route.fulfill(
        content_type="text/html", body=f"<title>app</title><a href='{link['url']}'>Open my notebook</a>"
    ))  # fmt: skip
    page.goto("http://app.localhost/")


def test_a_click_on_a_link_ends_in_the_launcher(latch, page):
    app_page(page, latch, latch.issue("chris", path="lab"))
    page.get_by_text("Open my notebook").click()
    expect(launcher(page)).to_be_visible(timeout=PATIENCE)
    assert page.url.startswith(f"{latch.url}/user/chris/lab")
    show(page, "launcher")

    page.reload()
    expect(launcher(page)).to_be_visible(timeout=PATIENCE)

    page.goto("about:blank")
    page.go_back()
    expect(launcher(page)).to_be_visible(timeout=PATIENCE)


def test_a_used_link_typed_again_goes_on_in_the_same_browser_only(latch, page, chromium):
    link = latch.issue("chris", path="lab")
    page.goto(link["url"])
    expect(launcher(page)).to_be_visible(timeout=PATIENCE)
    page.goto(link["url"])
    expect(launcher(page)).to_be_visible(timeout=PATIENCE)

    assert_refused_page(chromium, link, "used")


def test_an_expired_link_shows_a_page_that_says_so(latch, chromium):
    link = latch.issue("chris", expires_in=1)
    wait_until(lambda: latch.status(link) == "expired", 60, "the link to expire")
    assert_refused_page(chromium, link, "expired")


def assert_refused_page(chromium, link, word):
    for scheme in ("light", "dark"):
        context = chromium.new_context(color_scheme=scheme)
        page = context.new_page()
        assert page.goto(link["url"]).status == 403
        expect(page.locator("body")).to_contain_text(word)
        show(page, f"{word}-link-{scheme}")
        context.close()


def test_the_button_of_the_confirm_page_switches_the_user(latch, page):
    page.goto(latch.issue("chris", next="/hub/home")["url"])
    page.goto(latch.issue("dana", next="/hub/home")["url"])
    expect(page.locator("body")).to_contain_text("dana")
    show(page, "confirm")
    page.locator("form button, form input[type=submit]").first.click()
    page.wait_for_url("**/hub/home")
    expect(page.locator("body")).to_contain_text("dana")


def test_a_notebook_in_the_browser_computes(latch, page):
    page.goto(latch.issue("chris", path="lab")["url"])
    expect(launcher(page)).to_be_visible(timeout=PATIENCE)
    page.locator(".jp-LauncherCard[data-category=Notebook]").first.click()
    compute(page, page, "6*7", "42")
    show(page, "notebook")
