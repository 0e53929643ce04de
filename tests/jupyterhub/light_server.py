"""A server in place of a notebook, for a class of which each must have one: says who it is to whoever asks."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit


class Light(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.headers.get("Upgrade"):
            return self.echo()
        if "/oauth_callback?" in self.path:
            self.take_token()
        body = f"the server of {os.environ['JUPYTERHUB_USER']}".encode()
        self.send_response(200)
        # The hub looks for it before it calls the server ready.
        self.send_header("X-JupyterHub-Version", os.environ.get("HUBLATCH_TEST_HUB", "6.1.0"))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def take_token(self):
        """As every server does for a browser that comes from the hub's login: from then on the hub knows of its session."""
        from urllib.request import urlopen

        own = os.environ
        order = {
            "client_id": own["JUPYTERHUB_CLIENT_ID"],
            "client_secret": own["JUPYTERHUB_API_TOKEN"],
            "grant_type": "authorization_code",
            "code": parse_qs(urlsplit(self.path).query)["code"][0],
            "redirect_uri": own["JUPYTERHUB_OAUTH_CALLBACK_URL"],
        }
        urlopen(own["JUPYTERHUB_API_URL"] + "/oauth2/token", urlencode(order).encode()).close()

    def echo(self):
        """Says everything again, as soon as the protocol is another."""
        self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        while data := self.connection.recv(65536):
            self.connection.sendall(data)
        self.close_connection = True

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    place = urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
    ThreadingHTTPServer((place.hostname, place.port), Light).serve_forever()
