"""Chromium, as a person's browser."""

from playwright.sync_api import expect

import processes
from processes import ROOT

CHROMIUM = "/usr/bin/chromium"
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SCREENSHOTS = ROOT / "target/screenshots"
PATIENCE = processes.PATIENCE * 1000  # milliseconds, for a server that starts

# For all that a page shows without such a wait; Playwright's own five seconds are for a machine that does nothing else.
expect.set_options(timeout=60_000)


def launch(playwright):
    return playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=QUIET, timeout=PATIENCE)


def show(page, name):
    """Keeps a picture of what the page looks like."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", animations="disabled")


def launcher(page):
    """What JupyterLab shows when it is ready."""
    return page.locator(".jp-Launcher").first


def wait_for(page, condition, what):
    """The first true value of `condition()`, while events of the page come in: they are told late, after what follows
    from them can be seen on it."""
    return processes.wait_until(condition, processes.PATIENCE, what, pause=lambda: page.wait_for_timeout(50))


def compute(page, notebook, code, result):
    """Types `code` into the first cell of the new notebook and runs it. JupyterLab takes the focus to itself while a
    notebook opens, also after its kernel is idle: what was typed meanwhile is nowhere, so a person types it again."""
    expect(notebook.locator("#jp-main-statusbar")).to_contain_text("Idle", timeout=PATIENCE)
    cell = notebook.locator(".jp-Notebook .jp-CodeCell .cm-content").first
    output = notebook.locator(".jp-OutputArea-output").first
    for last in (False, False, True):
        try:
            cell.click()
            expect(cell).to_be_focused(timeout=10_000)
            page.keyboard.press("Control+A")
            page.keyboard.type(code)
            expect(cell).to_have_text(code, timeout=10_000)
            page.keyboard.press("Shift+Enter")
            expect(output).to_contain_text(result, timeout=PATIENCE if last else 20_000)
            return
        except AssertionError:
            if last:
                raise


def posts(page):
    """The address and the cookies of each form that the page posts from now on; told late, see `wait_for`."""
    seen = []

    def note(request):
        if request.method == "POST" and request.is_navigation_request():
            seen.append((request.url, request.all_headers().get("cookie", "")))

    page.on("requestfinished", note)
    return seen


def addresses(page):
    """Every address that stands in the address line from now on."""
    seen = []
    page.on("framenavigated", lambda frame: seen.append(frame.url) if frame == page.main_frame else None)
    return seen

