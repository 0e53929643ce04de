#!/usr/bin/env python3
"""The sample app with a tour, for examples/demo.sh: one button for each thing that hublatch does.

Only portal.py is for copying. This one acts for whoever presses a button, and keeps the last link of each user to show what
becomes of a used one.

Settings beside those of portal.py: PORTAL_HUB_URL, the public address of the notebooks.
"""
import json
import os
from http import HTTPStatus
from itertools import count
from pathlib import Path
from string import Template
from urllib.parse import quote

import portal
from portal import HEADERS, LinkError, Portal, call_api, issue_link, name_of_portal

HERE = Path(__file__).parent
TOUR, FRAME = (Template((HERE / name).read_text("utf-8")) for name in ("tour.html", "frame.html"))
STYLE = portal.PAGE.template.partition("<style>")[2].partition("</style>")[0]
SCRIPTS = {"/frame.js": HERE / "frame.js", "/hublatch-embed.js": HERE.parent / "clients/hublatch-embed.js"}
USER, OTHER = "alice", "bob"
HUB = os.environ.get("PORTAL_HUB_URL", "http://127.0.0.1:8000")
FRAME_POLICY = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'; frame-src {HUB}; base-uri 'none'; frame-ancestors 'none'"
HTML = "text/html; charset=utf-8"

last_link = f"{HUB}/hub/login"
numbers = count(1)


class Tour(Portal):
    more = '<p class="more"><a href="/tour">Take the tour</a>: a switch of users, a used link, a frame, the end of a session.</p>'

    def do_GET(self):
        if self.path == "/tour":
            self.tour(200)
        elif self.path == "/frame":
            page = FRAME.substitute(name=name_of_portal(), style=STYLE, hub=HUB)
            self.reply(200, {"Content-Type": HTML, "Content-Security-Policy": FRAME_POLICY}, page.encode())
        elif self.path in SCRIPTS:
            self.reply(200, {"Content-Type": "text/javascript; charset=utf-8"}, SCRIPTS[self.path].read_bytes())
        else:
            super().do_GET()

    do_HEAD = do_GET

    def do_POST(self):
        steps = {
            "/tour/open": lambda: self.send(keep(issue_link(USER, "lab"))),
            "/tour/again": lambda: self.send(last_link),
            "/tour/launch": lambda: self.send(issue_link(USER, "lab", server=f"tour-{next(numbers)}", launch=True)),
            "/tour/switch": lambda: self.send(issue_link(OTHER, "lab")),
            "/tour/end": self.end,
            # What the page with the frame asks for.
            "/frame/link": lambda: self.reply(200, {"Content-Type": "application/json"}, json.dumps({"url": issue_link(USER, "lab")}).encode()),
            "/frame/end": lambda: (end_sessions(), self.reply(HTTPStatus.NO_CONTENT, {})),
        }
        step = steps.get(self.path)
        if step is None:
            return super().do_POST()
        if self.read_form() is None:
            return
        try:
            step()
        except LinkError as error:
            self.tour(502, error.args[0])

    def end(self):
        """Her notebook then says that her session has ended."""
        end_sessions()
        self.reply(303, {"Location": f"{HUB}/user/{USER}/lab"})

    def tour(self, status, error=""):
        alert = f'<p class="error" role="alert">{portal.escape(error)}</p>' if error else ""
        page = TOUR.substitute(name=name_of_portal(), style=STYLE, user=USER, other=OTHER, error=alert)
        self.reply(status, {"Content-Type": HTML}, page.encode())


def keep(link):
    global last_link
    last_link = link
    return link


def end_sessions():
    """All browser sessions of the user at the hub: what an application does when somebody logs out of it."""
    return call_api("DELETE", f"/api/v1/users/{quote(USER)}/sessions")


if __name__ == "__main__":
    portal.main(Tour)
