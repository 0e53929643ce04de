"""What may stand before or behind hublatch: a hop that is slow, and one address with several hublatch behind it."""

import contextlib
import itertools
import socket
import threading
import time

from processes import free_port


class Hop:
    """Carries connections to the `targets` in turn. What begins with `slow_start` waits `delay` seconds on its way."""

    def __init__(self, *targets, slow_start=None, delay=0.0, port=None):
        self._targets, self._open = itertools.cycle(targets), []
        self.slow_start, self.delay = slow_start, delay
        self._listener = socket.create_server(("127.0.0.1", port or free_port()))
        self.url = "http://127.0.0.1:{}".format(self._listener.getsockname()[1])
        self._ended = False
        threading.Thread(target=self._accept, daemon=True).start()

    def turn_to(self, *targets):
        """Carries connections to these from now on; those that are open end."""
        self._targets, ended, self._open = itertools.cycle(targets), self._open, []
        for end in ended:
            # Wakes the threads that read, which close it.
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self):
        while not self._ended:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            host, port = next(self._targets).removeprefix("http://").split(":")
            try:
                far = socket.create_connection((host, int(port)))
            except OSError:
                near.close()
                continue
            self._open += [near, far]
            threading.Thread(target=self._carry, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._carry, args=(far, near, False), daemon=True).start()

    def _carry(self, source, sink, forth):
        try:
            while data := source.recv(65536):
                if forth and self.slow_start and data.startswith(self.slow_start):
                    time.sleep(self.delay)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            for end in (source, sink):
                end.close()

    def stop(self):
        self._ended = True
        self._listener.close()
