"""Presses the portal's button as a browser would, and follows the link to JupyterLab: demo.sh --check.

    demo_check.py PORTAL_URL PUBLIC_URL

Standard library only. Exit 0, or 1 with one line that says what was expected and what came.
"""
import json
import re
import sys
import time
from html import unescape
from http.cookiejar import CookieJar
from urllib.error import HTTPError
from urllib.parse import urlencode, urljoin, urlsplit
from urllib.request import HTTPCookieProcessor, HTTPRedirectHandler, ProxyHandler, Request, build_opener

USER = "alice"
DEADLINE_SECONDS = 120
REDIRECTS_MAX = 30


class NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


browser = build_opener(ProxyHandler({}), HTTPCookieProcessor(CookieJar()), NoRedirect())


def navigate(url, site, form=None):
    """One navigation to a document, with the headers by which browsers say so. Returns (status, location, text)."""
    headers = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    headers["Sec-Fetch-Site"] = site
    if form is not None:
        headers["Origin"] = "{0.scheme}://{0.netloc}".format(urlsplit(url))
    request = Request(url, urlencode(form).encode() if form is not None else None, headers)
    try:
        response = browser.open(request, timeout=30)
    except HTTPError as answer:
        response = answer
    return response.status, response.headers["Location"], response.read().decode()


def follow(url, site):
    """Follows redirects, and the hub's page "your server is starting", until a page stays."""
    deadline, redirects = time.monotonic() + DEADLINE_SECONDS, 0
    while True:
        status, location, text = navigate(url, site)
        if location and status in (302, 303):
            # Jupyter sends raw spaces in Location.
            url, redirects = urljoin(url, location).replace(" ", "%20"), redirects + 1
            expect(redirects <= REDIRECTS_MAX, f"at most {REDIRECTS_MAX} redirects", url)
        elif status == 200 and "/hub/spawn-pending/" in url:
            expect(time.monotonic() < deadline, f"a server within {DEADLINE_SECONDS} s", "still starting")
            time.sleep(0.5)
        else:
            return status, url, text


def expect(truth, wanted, seen):
    if not truth:
        sys.exit(f"demo_check: expected {wanted}, came {seen}")


def main(portal, public):
    status, _, text = navigate(portal + "/", "none")
    expect(status == 200 and "Open notebook" in text, "the portal's page with its button", status)

    form = {"username": USER, "kind": "default", "server": "", "path": "lab"}
    status, link, text = navigate(portal + "/", "same-origin", form)
    said = re.search(r'role="alert">([^<]*)', text)
    expect(status == 303, "a redirect to a login link", f"{status} {unescape(said[1]) if said else text[:200]!r}")
    expect(link.startswith(f"{public}/hub/login?login_token=hl_"), f"a login link at {public}", link.partition("?")[0])

    status, url, text = follow(link, "same-site")
    path, lab = urlsplit(url).path, f"/user/{USER}/lab"
    expect(status == 200 and path == lab, f"200 at {lab}", f"{status} at {path}")
    config = re.search(r'<script id="jupyter-config-data" type="application/json">(.*?)</script>', text, re.S)
    expect(config is not None, "JupyterLab's page", repr(text[:200]))
    user = json.loads(config[1]).get("hubUser")
    expect(user == USER, f"JupyterLab of {USER}", user)

    status, _, text = navigate(link, "same-site")
    expect(status == 303, "a used link in the same browser to lead on without a login", status)


if __name__ == "__main__":
    main(*sys.argv[1:])
