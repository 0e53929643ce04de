"""Random WebSocket scripts, each played twice: straight to the server, and through hublatch. What comes back is the same.

A script is made of its seed alone, so that one that fails can be played again.
"""

import asyncio
import ssl
from random import Random

SECONDS_MAX = 120
SIZES = (0, 1, 2, 124, 125, 126, 127, 4095, 65535, 65536, 65537, 300_000)
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def frame(random, opcode, payload, final=True):
    """A client's frame (RFC 6455 § 5.2)."""
    size = len(payload)
    head = bytes([opcode | (0x80 if final else 0)])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 65536:
        head += bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([0x80 | 127]) + size.to_bytes(8, "big")
    mask = random.randbytes(4)
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return head + mask + (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")


def message(random):
    kind = random.randrange(8)
    if kind == 0:
        return frame(random, PING, random.randbytes(random.randrange(126)))
    if kind == 1:
        return frame(random, PONG, b"unasked")
    if kind == 2:
        return frame(random, TEXT, f"burst {random.randrange(1, 20)} {random.choice(SIZES[:-2])}".encode())
    if kind == 3:
        return frame(random, TEXT, f"ping {random.randrange(1000)}".encode())
    payload = random.randbytes(random.choice(SIZES))
    opcode = BINARY
    if kind == 4:
        opcode, payload = TEXT, "grüße ☃ ".encode() * random.randrange(1, 500)
    if kind > 5 or not payload:
        return frame(random, opcode, payload)
    # In fragments, with a control frame between them (RFC 6455 § 5.4).
    cut = random.randrange(len(payload))
    between = frame(random, PING, b"between") if random.random() < 0.5 else b""
    return frame(random, opcode, payload[:cut], False) + between + frame(random, 0, payload[cut:])


def script(seed):
    """The bytes of the request's head, and of all that follows, in the pieces in which it is written."""
    random = Random(seed)
    head = [
        f"GET /user/alice/api/kernels/k%C3%A9;{seed}/channels?session_id={random.randrange(1 << 32)} HTTP/1.1",
        "Host: 127.0.0.1", "Upgrade: websocket", random.choice(["Connection: Upgrade", "connection: keep-alive, Upgrade"]),
        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        'Cookie: jupyterhub-user-alice="2|1:0|x=|y"; _xsrf=z',
    ]
    if random.random() < 0.5:
        head.append("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
    if random.random() < 0.5:
        head.append("Sec-WebSocket-Protocol: v1.kernel.websocket.jupyter.org")
    frames = [message(random) for _ in range(random.randrange(13))]
    if random.random() < 0.3:
        frames.append(frame(random, TEXT, f"close {random.choice([1000, 1001, 4000])}".encode()))
    frames.append(frame(random, CLOSE, (1000).to_bytes(2, "big") + b"bye"))
    sent, pieces = b"".join(frames), []
    while sent:
        size = random.choice([1, 7, 100, 1460, 16384, 1 << 20])
        pieces.append(sent[:size])
        sent = sent[size:]
        if len(pieces) > 200:
            pieces, sent = [*pieces, sent], b""
    # Some frames may stand right behind the head, before the 101 has come.
    early = pieces.pop(0) if pieces and random.random() < 0.2 else b""
    return "\r\n".join(head).encode() + b"\r\n\r\n", early, pieces


async def play(seed, port, tls):
    """What comes back: the answer's head without what may differ, and every byte behind it."""
    head, early, pieces = script(seed)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, limit=1 << 24)
    try:
        writer.write(head + early)
        answered = await reader.readuntil(b"\r\n\r\n")
        received = asyncio.ensure_future(reader.read())
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        status, *lines = answered.decode("latin-1").lower().rstrip().split("\r\n")
        # The request's id is hublatch's own, on every answer.
        same = sorted(line for line in lines if not line.startswith(("date:", "x-request-id:")))
        return status, same, await received
    finally:
        writer.close()


async def differs(seed, direct, through, tls):
    """What differs, or else how many bytes came back."""
    try:
        expected = await asyncio.wait_for(play(seed, direct, None), SECONDS_MAX)
        got = await asyncio.wait_for(play(seed, through, tls), SECONDS_MAX)
    except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError) as error:
        return f"seed {seed}: {type(error).__name__} {error}"
    for what, one, other in zip(("status", "headers"), expected, got):
        if one != other:
            return f"seed {seed}: {what}: {one!r} and {other!r}"
    if expected[2] != got[2]:
        return f"seed {seed}: {len(expected[2])} and {len(got[2])} bytes came back, and they differ"
    return len(got[2])


async def compare(seeds, direct, plain, secure):
    """What differs, and how many bytes came back. Every second script goes through TLS."""
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    at_once = asyncio.Semaphore(8)

    async def one(seed):
        async with at_once:
            through, by = (secure, tls) if seed % 2 else (plain, None)
            return await differs(seed, direct, through, by)

    outcomes = await asyncio.gather(*map(one, seeds))
    faults = [outcome for outcome in outcomes if isinstance(outcome, str)]
    return faults, sum(outcome for outcome in outcomes if not isinstance(outcome, str))
