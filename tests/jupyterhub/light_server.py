"""A server in place of a notebook, for a class of which each must have one: says who it is to whoever asks."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Light(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = f"the server of {os.environ['JUPYTERHUB_USER']}".encode()
        self.send_response(200)
        # The hub looks for it before it calls the server ready.
        self.send_header("X-JupyterHub-Version", os.environ.get("HUBLATCH_TEST_HUB", "6.1.0"))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    place = urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
    ThreadingHTTPServer((place.hostname, place.port), Light).serve_forever()
