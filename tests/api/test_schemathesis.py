"""Every operation of the API under requests that a machine makes up from the OpenAPI document."""

import json
from pathlib import Path

import pytest
import schemathesis
from conftest import Site, dataset_zip
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_schema_conformance,
    status_code_conformance,
)

from orfila.jobs import presence
from orfila.jobs.service import QUEUES

PATHS = json.loads((Path(__file__).parents[2] / "backend" / "openapi.json").read_text())["paths"]
ENDLESS, FOR_GOOD = "/api/v1/events", {("DELETE", "/api/v1/session"), ("DELETE", "/api/v1/tokens/{token_id}")}
OPERATIONS = [(m.upper(), p) for p, found in PATHS.items() for m in found if p != ENDLESS]
OPERATIONS = [operation for operation in OPERATIONS if operation not in FOR_GOOD]
"""All but a stream that never ends, and what would sign the machine out."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    ignored_auth,
]


@schemathesis.serializer("application/offset+octet-stream")
def _as_bytes(_context, value):
    return value if isinstance(value, bytes) else json.dumps(value).encode()


class Machine:
    """A site that holds a case, its document, a token, and the ids of what is there."""

    def __init__(self, folder):
        self.site = Site(folder, allowed_hosts=["testserver", "127.0.0.1", "localhost"])
        case = self.site.case()
        upload = self.site.upload(dataset_zip(), "animals.zip", "dataset")
        token = self.site.post("/tokens", {"name": "machine", "scopes": ["read", "write"], "expires_in_days": 1})
        self.headers = {"Authorization": f"Bearer {token['secret']}"}
        self.document = schemathesis.openapi.from_asgi("/api/openapi.json", self.site.app)
        self.ids = {
            "project_id": self.site.project,
            "case_id": case["id"],
            "dataset_id": case["dataset_id"],
            "model_id": case["model_id"],
            "job_id": case["job_id"],
            "upload_id": upload,
        }


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    made = Machine(tmp_path_factory.mktemp("site"))
    yield made
    made.site.database.dispose()


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_nothing_that_a_machine_makes_up_breaks_the_api(machine, method, path):
    operation = machine.document[path][method]
    known = {name: value for name, value in machine.ids.items() if f"{{{name}}}" in path}

    @given(case=operation.as_strategy(), there=st.booleans())
    @settings(max_examples=10, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def ask(case, there):
        with machine.site.database.transaction() as session:
            presence.seen(session, "here:1", sorted(set(QUEUES.values())), "cpu")
        if there:
            case.path_parameters.update(known)
        case.call_and_validate(checks=CHECKS, headers=machine.headers)

    ask()
