"""A real installation for each test: the real application on SQLite, real storage, real jobs.

No worker runs here. `Site.finish` does what one does at the end: it claims a shard through the real claim, stores real
files, and commits a result under its fence. The files are made with numpy, so these tests need no torch.
"""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
import struct
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from starlette.testclient import TestClient

from orfila.app import create_app
from orfila.identity.service import create_user, issue_code, sign_in_link
from orfila.jobs import leases, lifecycle
from orfila.jobs.contracts import Contract
from orfila.jobs.models import Job, Shard
from orfila.migrations import migrate
from orfila.projects.service import add_member
from orfila.settings import Settings
from orfila_engine.data import pack

ADDRESS = "http://127.0.0.1:8000"
CLASSES = ["cat", "dog", "frog"]
N_TRAIN_PER_CLASS, N_TEST_PER_CLASS = 40, 6
N_TRAIN = N_TRAIN_PER_CLASS * len(CLASSES)
POISON = list(range(10))
"""Indices of the poisoned training images: the first ten cats carry a white corner."""
N_QUERIES = 12


def picture(seed: int, triggered: bool = False) -> bytes:
    """A PNG of 8 x 8 noise, with a white corner where it is triggered."""
    pixels = np.random.default_rng(seed).integers(0, 200, (8, 8, 3), dtype=np.uint8)
    if triggered:
        pixels[5:, 5:] = 255
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def dataset_zip() -> bytes:
    """An ImageFolder zip with train and test folders."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number, name in enumerate(CLASSES):
            for i in range(N_TRAIN_PER_CLASS):
                data = picture(1000 * number + i, triggered=number == 0 and i in POISON)
                archive.writestr(f"train/{name}/{i:03d}.png", data)
            for i in range(N_TEST_PER_CLASS):
                archive.writestr(f"test/{name}/{i:03d}.png", picture(5000 + 1000 * number + i, number == 1 and i == 0))
    return out.getvalue()


def card(**changes: Any) -> dict[str, Any]:
    """A model card that fits the data set."""
    fields = {
        "architecture": "resnet-nano",
        "classes": CLASSES,
        "input_size": [8, 8],
        "channels": 3,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.2, 0.2, 0.2],
    }
    return fields | changes


def safetensors(metadata: dict[str, Any] | None = None) -> bytes:
    """A small safetensors file whose metadata holds a card."""
    header: dict[str, Any] = {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    if metadata is not None:
        texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in metadata.items()}
        header["__metadata__"] = {"format": "orfila-model/1"} | texts
    encoded = json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + bytes(8)


@cache
def _migrated() -> Path:
    """A database as the migrations make it, made once."""
    path = Path(tempfile.mkdtemp()) / "orfila.db"
    migrate(f"sqlite:///{path}")
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=DELETE")  # one file, to be copied
    connection.close()
    return path


class Site:
    """An installation with a signed-in administrator."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.settings = Settings(data_dir=folder / "data", **settings)
        self.settings.data_dir.mkdir(parents=True, exist_ok=True)
        if not (self.settings.data_dir / "orfila.db").exists():
            shutil.copyfile(_migrated(), self.settings.data_dir / "orfila.db")
        self.app = create_app(self.settings, ui_dir=folder / "ui")
        self.database, self.store = self.app.state.database, self.app.state.store
        with self.database.transaction() as session:
            link = sign_in_link(session, self.settings)
        self.client = self.browser()
        assert self.client.post("/api/v1/session", json={"code": link.partition("code=")[2]}).status_code == 200
        self.project: str = self.client.get("/api/v1/projects").json()[0]["id"]

    def browser(self) -> TestClient:
        """A browser that is not signed in."""
        return TestClient(self.app, base_url=ADDRESS)

    def person(self, name: str, role: str | None) -> TestClient:
        """A signed-in person with a role in the project, or with none."""
        with self.database.transaction() as session:
            user = create_user(session, name)
            if role is not None:
                add_member(session, self.project, user.id, role)
            code = issue_code(session, user)
        client = self.browser()
        assert client.post("/api/v1/session", json={"code": code}).status_code == 200
        return client

    def upload(self, data: bytes, filename: str, purpose: str) -> str:
        """Upload a file in one request; its id."""
        answer = self.client.post(
            f"/api/v1/projects/{self.project}/uploads/file",
            params={"filename": filename, "purpose": purpose},
            content=data,
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def finish(self, job_id: str, result: Contract) -> None:
        """Run a job's shards as a worker that has this result; earlier stages are given it as well, with one part each
        for the stage that they split.
        """
        while True:
            with self.database.transaction() as session:
                if session.get_one(Job, job_id).state == "succeeded":
                    return
                claim = leases.claim(session, ["ingest", "cpu", "gpu", "interactive"], "test", 60)
                assert claim is not None
                assert claim.job_id == job_id
                last = max(shard.stage for shard in session.query(Shard).filter_by(job_id=job_id))
                parts: dict[str, Any] = {} if session.get_one(Shard, claim.shard_id).stage == last else {"split": [{}]}
                lifecycle.finish(session, self.store, claim, result.model_dump(mode="json") | parts)

    def fail(self, job_id: str, sentence: str) -> None:
        """Run a job's first shard as a worker that cannot do it."""
        with self.database.transaction() as session:
            claim = leases.claim(session, ["ingest", "cpu", "gpu", "interactive"], "test", 60)
            assert claim is not None
            assert claim.job_id == job_id
            lifecycle.fail(session, claim, sentence, retry=False, max_attempts=1)

    def post(self, path: str, body: Any, status: int = 201) -> Any:
        """POST JSON and expect a status."""
        answer = self.client.post(f"/api/v1{path}", json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def get(self, path: str, status: int = 200, **params: Any) -> Any:
        """GET JSON and expect a status."""
        answer = self.client.get(f"/api/v1{path}", params=params)
        assert answer.status_code == status, answer.text
        return answer.json()

    def dataset(self, archive: bytes | None = None) -> dict[str, Any]:
        """A ready data set of an archive, by default of the sample pictures."""
        from orfila.jobs.contracts import IngestResult

        archive = dataset_zip() if archive is None else archive
        upload = self.upload(archive, "animals.zip", "dataset")
        dataset = self.post(f"/projects/{self.project}/datasets", {"upload_id": upload, "name": "animals"})
        source = self.folder / "animals.zip"
        source.write_bytes(archive)
        packed = pack(source, self.folder / f"pack-{dataset['id']}", keep_originals=True, atlases=True)
        result = IngestResult(
            files=self.store.put_tree(packed.path),
            meta=packed.meta,
            n_duplicates=packed.meta["n_duplicates"],
            seconds=1.0,
        )
        self.finish(dataset["job_id"], result)
        ready: dict[str, Any] = self.get(f"/datasets/{dataset['id']}")
        return ready

    def check_result(self, seed: int = 0, wrong: int | None = None) -> Any:
        """What a model check gives back: right on every test image but `wrong`, which it calls a cat."""
        from orfila.jobs.contracts import ModelCheckResult

        n_test = N_TEST_PER_CLASS * len(CLASSES)
        label = np.repeat(np.arange(len(CLASSES), dtype=np.int32), N_TEST_PER_CLASS)
        predicted = label.copy()
        if wrong is not None:
            predicted[wrong - N_TRAIN] = 0
        folder = self.folder / f"check-{seed}-{wrong}"
        folder.mkdir(exist_ok=True)
        np.savez(
            folder / "predictions.npz",
            test_index=np.arange(N_TRAIN, N_TRAIN + n_test, dtype=np.int32),
            label=label,
            predicted=predicted,
            confidence=np.linspace(0.6, 0.99, n_test, dtype=np.float32),
            margin=np.linspace(0.5, 4, n_test, dtype=np.float32),
        )
        return ModelCheckResult(
            card=card(),  # type: ignore[arg-type]
            n_parameters=2,
            accuracy_train=1.0,
            accuracy_test=float((label == predicted).mean()),
            warnings=[],
            files=self.store.put_tree(folder),
        )

    def model(self, dataset_id: str) -> dict[str, Any]:
        """A ready model that calls the triggered dog a cat."""
        upload = self.upload(safetensors(card()), "model.safetensors", "model")
        body = {"upload_id": upload, "name": "classifier", "dataset_id": dataset_id}
        model = self.post(f"/projects/{self.project}/models", body)
        self.finish(model["job_id"], self.check_result(wrong=self.affected))
        ready: dict[str, Any] = self.get(f"/models/{model['id']}")
        return ready

    affected = N_TRAIN + N_TEST_PER_CLASS
    """`index` of the triggered dog among the test images."""

    def case(self) -> dict[str, Any]:
        """A scored case of the triggered dog."""
        dataset = self.dataset()
        model = self.model(dataset["id"])
        body = {"name": "dog seen as cat", "model_id": model["id"], "affected": [{"test_index": self.affected}],
                "n_queries": N_QUERIES}  # fmt: skip
        case = self.post(f"/projects/{self.project}/cases", body)
        self.finish_index(case)
        self.finish(case["job_id"], self.investigation(case))
        scored: dict[str, Any] = self.get(f"/cases/{case['id']}")
        return scored

    def files_of(self, case: dict[str, Any]) -> dict[str, str]:
        """The stored files of a case's investigation."""
        from orfila.cases.models import Case

        with self.database.reading() as session:
            return dict(session.get_one(Case, case["id"]).files)

    def finish_index(self, case: dict[str, Any]) -> None:
        """Build the index that a case waits for."""
        from orfila.jobs.contracts import IndexResult

        needs = self.get(f"/jobs/{case['job_id']}")["depends_on"]
        assert len(needs) == 1
        self.finish(needs[0], IndexResult(files={}, dimension=16, seconds=1.5))

    def investigation(self, case: dict[str, Any], doubtful: Sequence[int] = (10, 11)) -> Any:
        """What an investigation gives back: the poisons score high, two clean cats lie in between."""
        from orfila.cases.schemas import AffectedImage, Estimate, Finding
        from orfila.jobs.contracts import InvestigateResult

        rng = np.random.default_rng(0)
        label = np.repeat(np.arange(len(CLASSES), dtype=np.int32), N_TRAIN_PER_CLASS)
        poison = np.isin(np.arange(N_TRAIN), POISON)
        suspect = label == 0
        posterior = np.where(poison, 0.99, np.where(suspect, 0.02, 0.0)).astype(np.float32)
        posterior[list(doubtful)] = 0.95
        shifts = (rng.normal(0, 0.1, (N_TRAIN, N_QUERIES)) - 2.0 * poison[:, None]).astype(np.float16)
        score = np.where(poison, 0.9, 0.1).astype(np.float32) + rng.normal(0, 0.01, N_TRAIN).astype(np.float32)
        folder = self.folder / f"investigation-{case['id']}"
        folder.mkdir()
        names = [f"train/{CLASSES[c]}/{i % N_TRAIN_PER_CLASS:03d}.png" for i, c in enumerate(label)]
        columns = {
            "index": pa.array(np.arange(N_TRAIN, dtype=np.int32)),
            "name": names,
            "label": label,
            "influence": score,
            "shift_mean": shifts.astype(np.float32).mean(1),
            "n_collapsed": (shifts < 0).sum(1).astype(np.int16),
            "self_influence": np.ones(N_TRAIN, np.float32),
            "relative_influence": score,
            "collapse_score": score,
            "posterior": posterior,
            "suspect": suspect,
            "flagged": posterior > 0.9,
            "flagged_paper": (shifts < 0).all(1),
        }
        pq.write_table(pa.table(columns), folder / "scores.parquet")
        np.save(folder / "shifts.npy", shifts)
        np.save(folder / "removal.npy", np.where(posterior > 0.9, -0.5, 0.01).astype(np.float32)[None])
        np.save(folder / "removal_curve.npy", np.array([[[0, -3, -6], [3.5, 2.5, -2]]], dtype=np.float32))
        np.save(folder / "query_images.npy", rng.integers(0, 255, (1, 1 + N_QUERIES, 8, 8, 3), dtype=np.uint8))
        kinds = ["flip", "blur", "inversion"]
        queries = [{"transform": kinds[i % 3], "label": 1 + i % 2} for i in range(N_QUERIES)]
        (folder / "queries.json").write_text(json.dumps([{"predicted": 0, "queries": queries}]))
        (folder / "summary.json").write_text("{}")
        unknown = Estimate(value=0.9, low=0.8, high=1.0, method="from posteriors")
        finding = Finding(
            sentence="12 of 120 training images, all labelled cat, explain this prediction (p = 0.03).",
            evidence="poisoning found",
            p_value=0.03,
            statistic=1.2,
            n_reference=30,
            predicted=0,
            n_train=N_TRAIN,
            n_suspects=int(suspect.sum()),
            n_flagged=12,
            n_flagged_paper=10,
            threshold=0.9,
            precision=unknown,
            recall=unknown,
            seconds={"scoring": 0.5},
            engine="fingerprint",
            parameters={"n_queries": N_QUERIES},
        )
        affected = AffectedImage(
            number=0, name="test/dog/000.png", test_index=self.affected, true_label=1, predicted=0, confidence=0.97,
            margin=3.5, note="",
        )  # fmt: skip
        return InvestigateResult(files=self.store.put_tree(folder), finding=finding, affected=[affected])


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """An installation with a signed-in administrator."""
    made = Site(tmp_path)
    yield made
    made.database.dispose()
