"""Every page of ours in Chromium, judged by axe-core: light, dark, in the colours of the system, from right to left, and on a
phone. The pages are those that `hublatch check --pages` writes. The pictures are in target/screenshots/kinds."""

import http.server
import json
import re
import subprocess
import threading
from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import sync_playwright

from chromium import SCREENSHOTS, launch
from latch import BINARY
from processes import PATIENCE, ROOT

DESK, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
LOOKS = {
    "en-light": {"color_scheme": "light", "viewport": DESK},
    "en-dark": {"color_scheme": "dark", "viewport": DESK},
    "en-forced": {"forced_colors": "active", "viewport": DESK},
    "ar-light-phone": {"color_scheme": "light", "viewport": PHONE},
    "ar-dark": {"color_scheme": "dark", "viewport": DESK},
    "de-dark-phone": {"color_scheme": "dark", "viewport": PHONE},
    "zh-forced-phone": {"forced_colors": "active", "viewport": PHONE},
}
AXE = next(Path(axe_playwright_python.__file__).parent.rglob("axe.min.js"))
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
CONFIG = """
public = {{ listen = "127.0.0.1:0", url = "http://127.0.0.1:8000" }}
hub.url = "http://127.0.0.1:8400"
login.app_url = "https://portal.example.edu/courses"
pages = {{ name = "Physics Portal", logo = "{logo}" }}
embed.frame_ancestors = ["https://lms.example.edu"]
[[apps]]
name = "portal"
keys = ["sha256:{digest}"]
"""
LOGO = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 40" width="40" height="40">
<circle cx="20" cy="20" r="18" fill="#0f766e"/></svg>"""
# As in a frame in which the browser keeps nothing: the page goes on by itself elsewhere.
SHUT = "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('shut', 'SecurityError') } })"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    (folder / "logo.svg").write_text(LOGO)
    file = folder / "hublatch.toml"
    file.write_text(CONFIG.format(logo=folder / "logo.svg", digest="6f2c1a5e7b9d3f80" * 4))
    file.chmod(0o600)
    command = [BINARY, "check", "--config", file, "--pages", folder / "pages"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return folder / "pages"


@pytest.fixture(scope="module")
def origin(folder):
    """A server of the pages, whose events never come: the pages of a wait stay."""
    over = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            file = folder / self.path.lstrip("/")
            if self.path.endswith(".html") and file.is_file():
                self.answer("text/html; charset=utf-8", file.read_bytes())
            elif self.headers.get("Accept") == "text/event-stream":
                self.answer("text/event-stream", b": \n\n")
                over.wait(PATIENCE)
            else:
                self.send_error(404)

        def answer(self, kind, body):
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield "http://127.0.0.1:{}".format(server.server_address[1])
    over.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


def test_every_kind_of_page_is_judged(folder):
    table = set(re.findall(r"^//! \| `([a-z_]+)` \|", (ROOT / "src/pages/page.rs").read_text(), re.M))
    codes = {re.sub(r"^\d+-", "", file.stem) for file in (folder / "en").iterdir()}
    # The code of a refused request is the caller's.
    assert len(table) > 30 and codes == table | {"bad_next"}


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing_on_any_page(look, folder, origin, chromium):
    language, *_ = look.split("-")
    pages = sorted((folder / language).iterdir())
    assert len(pages) >= 40
    context = chromium.new_context(**LOOKS[look])
    page = context.new_page()
    page.add_init_script(SHUT)
    (SCREENSHOTS / "kinds").mkdir(parents=True, exist_ok=True)
    found = {}
    for file in pages:
        page.goto(f"{origin}/{language}/{file.name}")
        page.screenshot(path=SCREENSHOTS / "kinds" / f"{file.stem}-{look}.png", animations="disabled", full_page=True)
        page.add_script_tag(path=AXE)
        options = json.dumps({"runOnly": {"type": "tag", "values": TAGS}, "resultTypes": ["violations"]})
        result = page.evaluate(f"axe.run(document, {options})")
        faults = [f"{fault['id']}: {fault['nodes'][0]['html']}" for fault in result["violations"]]
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            faults.append("has to be scrolled sideways")
        if faults:
            found[file.stem] = faults
    context.close()
    assert not found, json.dumps(found, indent=1)
