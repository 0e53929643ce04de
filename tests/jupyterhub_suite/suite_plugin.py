"""Makes HublatchProxy the proxy class of JupyterHub's MockHub, where the run is in `class` mode; and Debian's Chromium the
browser.
"""

import os

CHROMIUM = "/usr/bin/chromium"


def pytest_configure(config):
    use_chromium()
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
