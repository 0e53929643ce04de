"""Chromium, as a person's browser."""

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
PATIENCE = 60_000  # milliseconds, for a server that starts


def launch(playwright):
    return playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=QUIET)


def show(page, name):
    """Keeps a picture of what the page looks like."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", animations="disabled")


def launcher(page):
    """What JupyterLab shows when it is ready."""
    return page.locator(".jp-Launcher").first


def posts(page):
    """The address and the cookies of each form that the page posts from now on."""
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

