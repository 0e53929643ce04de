"""A WebSocket server (Tornado's, which JupyterHub and Jupyter Server are made of) that does what it is told.

    scripted.py PORT
"""

import asyncio
import sys

from tornado.web import Application
from tornado.websocket import WebSocketHandler


class Scripted(WebSocketHandler):
    def check_origin(self, _origin):
        return True

    def get_compression_options(self):
        return {}

    def select_subprotocol(self, offered):
        return offered[0] if offered else None

    def on_message(self, message):
        words = message.split() if isinstance(message, str) else [""]
        match words[:1]:
            case ["burst"]:
                for number in range(int(words[1])):
                    self.write_message(bytes([number % 256]) * int(words[2]), binary=True)
            case ["ping"]:
                self.ping(words[1].encode())
            case ["close"]:
                self.close(int(words[1]), "as told")
            case _:
                self.write_message(message, binary=isinstance(message, bytes))


async def main(port):
    settings = {"websocket_max_message_size": 8 << 20}
    Application([(r"/.*", Scripted)], **settings).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
