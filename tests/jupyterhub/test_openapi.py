"""The document of the API as tools take it: valid by OpenAPI's own schema, and good enough to make a client of."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from openapi_spec_validator import OpenAPIV31SpecValidator

from processes import PATIENCE, ROOT

DOCUMENT = ROOT / "docs/openapi.yaml"


def test_the_document_is_valid_openapi():
    faults = OpenAPIV31SpecValidator(yaml.safe_load(DOCUMENT.read_text())).iter_errors()
    assert [(list(fault.absolute_path), fault.message) for fault in faults] == []


def test_a_document_with_an_unquoted_comma_is_found_out():
    text = DOCUMENT.read_text()
    broken = text.replace("- name: exchange\n  description: For a hub that redeems tokens itself.", "- {name: exchange, description: For a hub, that redeems tokens itself.}", 1)
    assert broken != text, "the document has no such lines any more: break other ones"
    faults = list(OpenAPIV31SpecValidator(yaml.safe_load(broken)).iter_errors())
    # The comma has made a key of half a sentence, and of nothing else.
    assert [list(fault.absolute_path)[:1] for fault in faults] == [["tags"]], faults


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """A client that openapi-python-client has made of the document, as a package that can be imported."""
    folder = tmp_path_factory.mktemp("generated")
    # It formats what it has made with the programs that stand beside it.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    made = subprocess.run(
        [sys.executable, "-m", "openapi_python_client", "generate", "--path", DOCUMENT, "--meta", "none", "--output-path", folder / "hublatch_api"],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    sys.path.insert(0, str(folder))
    yield lambda name: importlib.import_module(f"hublatch_api.{name}")
    sys.path.remove(str(folder))


def test_a_generated_client_issues_a_link_reads_it_and_is_told_what_is_wrong(generated, latch):
    client = generated("client").AuthenticatedClient(base_url=latch.management, token=latch.key)
    order, links = generated("models").Order, "api.links"
    issued = generated(f"{links}.issue_link").sync(client=client, body=order(username="generated", path="lab"))
    assert latch.browser().open_server(issued.url).path == "/user/generated/lab"
    link = generated(f"{links}.read_link").sync(issued.id, client=client)
    assert (link.status, link.username) == ("used", "generated")
    refused = generated(f"{links}.issue_link").sync(client=client, body=order(username="Generated"))
    assert (refused.status, refused.code, refused.field) == (400, "invalid_username", "username")
    assert refused.doc_url == "/api/v1/errors.md#invalid_username"
