"""Talks to a notebook server as JupyterLab's page does: kernels over the WebSocket, files over the contents API."""

import json
import uuid
from urllib.parse import urlsplit

from websockets.sync.client import connect

from browser import encryption
from processes import PATIENCE


class Kernel:
    """A new kernel of `user`, started and reached with the browser's cookies."""

    def __init__(self, browser, user_url):
        answer = browser.fetch("POST", f"{user_url}api/kernels", {"name": "python3"})
        assert answer.status == 201, (answer.status, answer.text)
        self.id = answer.json["id"]
        self.channels = f"{user_url}api/kernels/{self.id}/channels"
        self.socket = open_socket(browser, self.channels)

    def execute(self, code, seconds=PATIENCE):
        """The text of the expression's value."""
        request = message("execute_request", code=code, silent=False, store_history=False, allow_stdin=False)
        self.socket.send(json.dumps(request))
        while True:
            answer = json.loads(self.socket.recv(timeout=seconds))
            if answer["parent_header"].get("msg_id") != request["header"]["msg_id"]:
                continue
            if answer["msg_type"] == "error":
                raise AssertionError(answer["content"])
            if answer["msg_type"] == "execute_result":
                return answer["content"]["data"]["text/plain"]

    def close(self):
        self.socket.close()


def open_socket(browser, path):
    """A WebSocket with the browser's cookies and the Origin of its page."""
    connection = connect(
        browser.origin.replace("http", "ws", 1) + path,
        additional_headers={"Cookie": browser.cookie_header(urlsplit(path).path)},
        origin=browser.origin,
        ssl=encryption(browser.origin),
        max_size=None,
        proxy=None,
        # The pings would fail only after the kernel is busy for long; what is tested is who closes the socket.
        ping_interval=None,
        open_timeout=PATIENCE,
    )
    return connection.__enter__()  # whoever asked for it closes it, at the latest the test's end


def message(kind, **content):
    header = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": kind,
        "username": "",
        "session": uuid.uuid4().hex,
        "version": "5.3",
    }
    rest = {"parent_header": {}, "metadata": {}, "content": content, "channel": "shell", "buffers": []}
    return {"header": header, **rest}


def save(browser, user_url, name, text):
    """Saves a text file as an open tab does; the answer."""
    return browser.fetch("PUT", f"{user_url}api/contents/{name}", {"type": "file", "format": "text", "content": text})
