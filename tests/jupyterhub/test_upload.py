"""Large files pass in both directions byte for byte."""

import base64
import hashlib
import json
import os
from urllib.parse import urlsplit

import pytest

from browser import address, connect

SIZE = 200 * 1024 * 1024
PIECE = 1024 * 1024


@pytest.fixture(scope="module")
def uma(latch):
    browser = latch.browser()
    assert browser.open_server(latch.issue("uma", path="lab")["url"]).status == 200
    return browser


def test_200_mib_arrive_byte_for_byte_and_come_back(uma):
    data = os.urandom(SIZE)
    body = {"type": "file", "format": "base64", "content": base64.b64encode(data).decode()}
    answer = uma.fetch("PUT", "/user/uma/api/contents/large.bin", body)
    assert (answer.status, answer.json["size"]) == (201, SIZE)
    back = uma.open("/user/uma/files/large.bin")
    assert back.status == 200
    assert hashlib.sha256(back.body).digest() == hashlib.sha256(data).digest()


def test_an_upload_of_unknown_length_arrives_byte_for_byte(uma):
    data = os.urandom(20 * PIECE)
    head = json.dumps({"type": "file", "format": "base64", "content": ""})[:-2].encode()
    pieces = [head, *(base64.b64encode(data[i : i + 3 * PIECE]) for i in range(0, len(data), 3 * PIECE)), b'"}']
    assert chunked_put(uma, "/user/uma/api/contents/chunked.bin", pieces) == 201
    assert uma.open("/user/uma/files/chunked.bin").body == data


def chunked_put(browser, path, pieces):
    url = address(browser.origin + path)
    connection = connect(url)
    try:
        headers = {
            "Cookie": browser.cookie_header(urlsplit(url).path),
            "X-XSRFToken": browser.cookie("_xsrf", path),
            "Transfer-Encoding": "chunked",
        }
        connection.request("PUT", path, iter(pieces), headers, encode_chunked=True)
        return connection.getresponse().status
    finally:
        connection.close()
