"""Makes HublatchProxy the proxy class of JupyterHub's MockHub, where the run is in `class` mode; Debian's Chromium the
browser; and `hub.test`, with all names below it, this machine.
"""

import os
import socket

CHROMIUM = "/usr/bin/chromium"


def pytest_configure(config):
    use_chromium()
    resolve_the_hub()
    if os.environ.get("HUBLATCH_SUITE_MODE") != "class":
        return
    from hublatch.proxy import HublatchProxy
    from jupyterhub.tests.mocking import MockHub

    # How traitlets finds a default that is computed.
    MockHub._proxy_class_default = lambda self: HublatchProxy


def use_chromium():
    """The tests launch Playwright's Firefox, which would be a download of its own."""
    from playwright.async_api._generated import BrowserType, Playwright

    launch = BrowserType.launch

    async def launch_chromium(browser, **options):
        return await launch(browser, **options, executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])

    Playwright.firefox = property(lambda self: self.chromium)
    BrowserType.launch = launch_chromium


def resolve_the_hub():
    """Tests with subdomains ask for `alice.hub.test`, which no DNS knows. `localhost` would not do: http.cookiejar keeps no
    cookies of a domain without a dot.
    """
    getaddrinfo = socket.getaddrinfo

    def this_machine(host, *rest, **options):
        if isinstance(host, str) and (host == "hub.test" or host.endswith(".hub.test")):
            host = "localhost"
        return getaddrinfo(host, *rest, **options)

    socket.getaddrinfo = this_machine
