"""Servers for the tests, each started once for all that share it; a failed test shows their logs."""

import pytest

from hub import Hub
from latch import AS_PROXY, Hublatch
from processes import RUNNING

LOG_LINES_SHOWN = 30


@pytest.fixture(scope="session")
def start_hub(tmp_path_factory):
    """Starts hubs as `Hub` takes them; all are ended when the last test is over."""
    hubs = []

    def start(before_start=None, **options):
        hub = Hub(tmp_path_factory.mktemp("hub"), **options)
        hubs.append(hub)
        if before_start:
            before_start(hub)
        return hub.start()

    yield start
    for hub in hubs:
        hub.kill()


@pytest.fixture(scope="session")
def start_hublatch(tmp_path_factory):
    """Starts hublatch before a hub; all are ended when the last test is over."""
    latches = []

    def start(hub, changes=None):
        latch = Hublatch(tmp_path_factory.mktemp("hublatch"), hub, changes)
        latches.append(latch)
        return latch.start()

    yield start
    for latch in latches:
        latch.stop()


# One hub and one hublatch for most tests. Its users' servers go on running, so every module has users of its own.


@pytest.fixture(scope="session")
def hub(start_hub):
    return start_hub(extra='c.Authenticator.admin_users = {{"admin"}}\nc.Authenticator.manage_groups = True\n')


@pytest.fixture(scope="session")
def latch(hub, start_hublatch):
    return start_hublatch(hub)


@pytest.fixture(scope="module", autouse=True)
def the_latch_of_all_is_the_proxy_of_a_new_module(request):
    if AS_PROXY:
        request.getfixturevalue("latch").be_the_proxy()


@pytest.fixture(autouse=True)
def the_latch_of_the_test_is_the_proxy(request):
    """Several modules start one of their own at the same hub."""
    # What the test asks for itself: request.fixturenames has what other fixtures have asked for, too.
    if AS_PROXY and "latch" in request.node.fixturenames:
        request.getfixturevalue("latch").be_the_proxy()


@pytest.fixture
def browser(latch):
    return latch.browser()


def pytest_configure(config):
    config.addinivalue_line("markers", "begins_early: begins something that others need time to pass after")
    config.addinivalue_line("markers", "ends_late: waits for it; in a run of all tests there is nothing left to wait for")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: bool(item.get_closest_marker("ends_late")) - bool(item.get_closest_marker("begins_early")))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for process in RUNNING:
            tail = "\n".join(process.log.splitlines()[-LOG_LINES_SHOWN:])
            report.sections.append((f"log of {process.name} ({process.folder})", tail))
