"""A Python client of the HTTP API: everything that the browser can do.

    from orfila.client import Client

    with Client("http://127.0.0.1:8000", token="orf_...") as orfila:
        project = orfila.projects()[0]
        dataset = orfila.add_dataset(project.id, Path("pictures.zip"))
        model = orfila.add_model(project.id, Path("model.safetensors"), dataset.id)
        case = orfila.open_case(project.id, model.id, test_index=50_012)
        print(case.finding.sentence)
        remedy = orfila.repair(case.id, "cf")
        print(remedy.verification.sentence)

The `add_`, `open_` and `repair` methods wait for their job; `wait` raises `JobFailed` with the sentence that says why.
"""

from __future__ import annotations

import base64
import io
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel

from orfila.audit.schemas import ChainCheck
from orfila.cases.schemas import (
    AffectedSource,
    Case,
    CaseCreate,
    CaseEstimate,
    CasesBeside,
    Column,
    EarlyLook,
    Engine,
    RelatedCase,
    Rule,
    ScoreColumnName,
    ScoreColumns,
    ScoreRow,
)
from orfila.checks.schemas import CheckCreate, RegressionCheck
from orfila.comparisons.schemas import Comparison, ComparisonCreate
from orfila.datasets.export import Contents
from orfila.datasets.schemas import CifarLabels, Dataset, DatasetCreate, ImageSize
from orfila.drills.schemas import Drill, DrillCreate
from orfila.identity.schemas import Scope, SignInLink, TokenCreate, TokenCreated, UserCreate
from orfila.jobs.schemas import Job, JobDetail, LogLine, Worker
from orfila.maps.schemas import FingerprintMap, MapColumns, MapCreate, MapMethod, Nearest
from orfila.models.schemas import ClassifierModel, ModelCard, ModelCreate, Prediction
from orfila.projects.schemas import Member, MemberAdd, Project, ProjectCreate, Role
from orfila.remedies.schemas import Method, Remedy, RemedyCreate, RemovalPreview, RemovalSet
from orfila.reports.schemas import Report
from orfila.review.schemas import (
    Agreement,
    NextImages,
    ReviewProgress,
    Verdict,
    VerdictItem,
    VerdictsPost,
    VerdictsPosted,
    VerdictsRestored,
    VerdictValue,
)
from orfila.rounds.schemas import Queue, QueueKind, Resolution, Round, RoundCreate
from orfila.storage.base import hash_file
from orfila.storage.sniff import HEAD_BYTES, is_torch_file
from orfila.sweeps.schemas import Sweep, SweepCreate
from orfila.uploads.schemas import Upload, UploadCreate, UploadPurpose

_READ_BYTES = 2**20
_PIECE_BYTES = (8 * 2**20, 512 * 2**20)
"""Of one request of an upload: the first has the least; each later one has what takes about `_PIECE_SECONDS`."""
_PIECE_SECONDS = 2.0
_POLL_SECONDS = 0.1
_SLOWEST_POLL_SECONDS = 1.0
_UPLOAD_TRIES = 8
_OVER = ("succeeded", "failed", "cancelled")
Body = TypeVar("Body", bound=BaseModel)
OnProgress = Callable[[str, float], None]
"""Called as on_progress(what is being done now, share done in 0..1)."""


class ApiError(Exception):
    """An answer with an error status. `detail` is one sentence that says what to do; `code` is for programs."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(status, code, detail)
        self.status, self.code, self.detail = status, code, detail

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.detail}"


class JobFailed(Exception):
    """A job failed or was cancelled; the message is the sentence of the job."""

    def __init__(self, job: Job) -> None:
        super().__init__(job.error or f"the job was {job.state}")
        self.job = job


class DamagedUpload(Exception):
    """The server received other bytes than the file has; it dropped them."""


class Client:
    """A connection to one server, acting for the owner of a token. Use it from one thread."""

    def __init__(self, address: str, token: str | None = None, *, timeout: float = 60.0) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=address.rstrip("/"), headers=headers, timeout=timeout, trust_env=False)

    @classmethod
    def sign_in(cls, link: str, *, timeout: float = 60.0) -> Client:
        """A client signed in by a one-time link (`http://host:port/signin#code=...`). Raises ApiError if it is used."""
        parts = urlsplit(link)
        client = cls(f"{parts.scheme}://{parts.netloc}", timeout=timeout)
        client._send("POST", "/api/v1/session", json={"code": parts.fragment.removeprefix("code=")})
        return client

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def create_token(self, name: str, scopes: list[Scope] | None = None, *, expires_in_days: int = 90) -> TokenCreated:
        """A new API token of the signed-in user, by default to read and write; its secret is shown this once."""
        body = TokenCreate(name=name, scopes=scopes or ["read", "write"], expires_in_days=expires_in_days)
        return self._create("/tokens", body, TokenCreated)

    # Projects and files

    def projects(self) -> list[Project]:
        """The projects that one may read."""
        return [Project.model_validate(p) for p in self._send("GET", "/api/v1/projects").json()]

    def create_project(self, name: str) -> Project:
        """A new team space."""
        return self._create("/projects", ProjectCreate(name=name), Project)

    def upload(
        self, project_id: str, path: Path, purpose: UploadPurpose, on_progress: OnProgress | None = None
    ) -> Upload:
        """Upload a file (tus 1.0); a broken connection is taken up where it stopped, and the SHA-256 compared."""
        body = UploadCreate(filename=path.name, size=path.stat().st_size, purpose=purpose)
        return self.resume_upload(self._create(f"/projects/{project_id}/uploads", body, Upload).id, path, on_progress)

    def resume_upload(self, upload_id: str, path: Path, on_progress: OnProgress | None = None) -> Upload:
        """Go on with an upload, from this run or an earlier one.

        Raises what the last try did, and DamagedUpload when the server has other bytes than the file.
        """
        with ThreadPoolExecutor(1) as hashing:
            sha256 = hashing.submit(hash_file, path)
            self._send_file(upload_id, path, on_progress)
            upload = self._get(f"/uploads/{upload_id}", Upload)
            if upload.sha256 != sha256.result():
                self.delete_upload(upload_id)
                raise DamagedUpload(f"{path.name} arrived damaged, or was changed meanwhile; upload it again.")
        return upload

    def _send_file(self, upload_id: str, path: Path, on_progress: OnProgress | None) -> None:
        failures, piece, reached = 0, _PIECE_BYTES[0], -1
        while True:
            try:
                head = self._send("HEAD", f"/api/v1/uploads/{upload_id}")
                offset, size = int(head.headers["Upload-Offset"]), int(head.headers["Upload-Length"])
                if offset > reached:
                    failures, reached = 0, offset
                while offset < size:
                    began = time.monotonic()
                    offset = self._send_piece(upload_id, path, offset, min(piece, size - offset), size, on_progress)
                    piece = _next_piece(piece, time.monotonic() - began)
                return
            except (httpx.TransportError, ApiError) as error:
                # 409: another offset than we thought; 423: our broken request still holds the upload.
                passing = isinstance(error, httpx.TransportError) or error.status in (409, 423, 502, 503)
                failures, piece = failures + 1, _PIECE_BYTES[0]
                if not passing or failures >= _UPLOAD_TRIES:
                    raise
                time.sleep(0.2 * 2**failures)

    def uploads(self, project_id: str) -> Iterator[Upload]:
        """A project's uploads, newest first."""
        return self._pages(f"/projects/{project_id}/uploads", Upload)

    def delete_upload(self, upload_id: str) -> None:
        """Give an upload up, or the reservation of a finished one; what was made of it stays."""
        self._send("DELETE", f"/api/v1/uploads/{upload_id}")

    def convert_upload(self, upload_id: str, on_progress: OnProgress | None = None) -> Upload:
        """The safetensors upload that the server makes of a PyTorch file. Raises JobFailed for what is no state dict,
        ApiError (403) where conversion is switched off.
        """
        made = Upload.model_validate_json(self._send("POST", f"/api/v1/uploads/{upload_id}/conversion").content)
        self._wait_for(made.job_id, on_progress)
        return self._get(f"/uploads/{made.id}", Upload)

    def download(self, address: str, target: Path) -> Path:
        """Save what an address of the API answers, e.g. `/api/v1/cases/ID/flagged.csv`; no half file is left."""
        part = target.with_name(target.name + ".part")
        with self._http.stream("GET", address) as answer, part.open("wb") as file:
            if answer.is_error:
                answer.read()
                _raise(answer)
            for piece in answer.iter_bytes():
                file.write(piece)
        return part.replace(target)

    def get(self, address: str) -> Any:
        """What an address of the API answers, as JSON types; for questions that have no method of their own."""
        return self._send("GET", address).json()

    # Data sets and models

    def add_dataset(
        self,
        project_id: str,
        archive: Path,
        *,
        name: str | None = None,
        on_broken: Literal["refuse", "skip"] = "refuse",
        size: tuple[int, int] | None = None,
        labels: CifarLabels | None = None,
        class_names: dict[str, str] | None = None,
        split_seed: int = 0,
        on_progress: OnProgress | None = None,
    ) -> Dataset:
        """Upload an archive of class folders and wait for the data set. Raises JobFailed when it is unusable.

        size: (width, height) to resize all images to; by default the most frequent. labels: which of CIFAR-100's.
        class_names: other names, by folder or label. split_seed: of the test split, where the archive has none.
        """
        upload = self.upload(project_id, archive, "dataset", on_progress)
        body = DatasetCreate(
            upload_id=upload.id,
            name=name or archive.stem,
            on_broken=on_broken,
            labels=labels,
            class_names=class_names,
            split_seed=split_seed,
            size=None if size is None else ImageSize(width=size[0], height=size[1]),
        )
        dataset = self._create(f"/projects/{project_id}/datasets", body, Dataset)
        self._wait_for(dataset.job_id, on_progress)
        return self.dataset(dataset.id)

    def dataset(self, dataset_id: str) -> Dataset:
        """A data set by id."""
        return self._get(f"/datasets/{dataset_id}", Dataset)

    def download_dataset(self, dataset_id: str, target: Path, contents: Contents = "originals") -> Path:
        """Save a version's images as a zip of class folders, without what was removed; see GET archive.zip."""
        return self.download(f"/api/v1/datasets/{dataset_id}/archive.zip?contents={contents}", target)

    def pixels(self, dataset_id: str, index: int) -> NDArray[np.uint8]:
        """The pixels of an image as a model sees them, [H, W, C]."""
        answer = self._send("GET", f"/api/v1/datasets/{dataset_id}/images/{index}/pixels.png")
        found = np.asarray(Image.open(io.BytesIO(answer.content)))
        return found[:, :, None] if found.ndim == 2 else found

    def datasets(self, project_id: str) -> Iterator[Dataset]:
        """All data sets of a project, newest first."""
        return self._pages(f"/projects/{project_id}/datasets", Dataset)

    def add_model(
        self,
        project_id: str,
        weights: Path,
        dataset_id: str,
        *,
        name: str | None = None,
        card: ModelCard | None = None,
        on_progress: OnProgress | None = None,
    ) -> ClassifierModel:
        """Upload weights and wait for the check on the data set. Raises JobFailed when they do not fit.

        Safetensors; a state dict of torch.save (.pt) is converted on the server, if that is allowed there.
        """
        upload = self.upload(project_id, weights, "model", on_progress)
        with weights.open("rb") as file:
            if is_torch_file(file.read(HEAD_BYTES)):
                upload = self.convert_upload(upload.id, on_progress)
        body = ModelCreate(upload_id=upload.id, name=name or weights.stem, dataset_id=dataset_id, card=card)
        model = self._create(f"/projects/{project_id}/models", body, ClassifierModel)
        self._wait_for(model.job_id, on_progress)
        return self.model(model.id)

    def model(self, model_id: str) -> ClassifierModel:
        """A model by id."""
        return self._get(f"/models/{model_id}", ClassifierModel)

    def models(self, project_id: str) -> Iterator[ClassifierModel]:
        """All models of a project, newest first."""
        return self._pages(f"/projects/{project_id}/models", ClassifierModel)

    def misclassified(
        self, model_id: str, label: int | None = None, predicted: int | None = None
    ) -> Iterator[Prediction]:
        """Test images that a model gets wrong, the most confident first."""
        return self._pages(
            f"/models/{model_id}/predictions", Prediction, misclassified=True, label=label, predicted=predicted
        )

    # Cases

    def open_case(
        self,
        project_id: str,
        model_id: str,
        *,
        test_index: int | None = None,
        picture: Path | None = None,
        true_label: int | None = None,
        affected: list[AffectedSource] | None = None,
        name: str = "Case",
        n_queries: int = 50,
        seed: int = 0,
        engine: Engine = "fingerprint",
        rule: Rule = "collapse",
        triggered_dataset_id: str | None = None,
        wait: bool = True,
        on_progress: OnProgress | None = None,
    ) -> Case:
        """Investigate an affected image: a test image by `index`, or a picture (with its true label, if known).

        affected: several images of one symptom instead. Raises JobFailed when the investigation does.
        """
        if affected is None:
            upload_id = None if picture is None else self.upload(project_id, picture, "image").id
            affected = [AffectedSource(test_index=test_index, upload_id=upload_id, true_label=true_label)]
        body = CaseCreate(
            name=name,
            model_id=model_id,
            affected=affected,
            n_queries=n_queries,
            seed=seed,
            engine=engine,
            rule=rule,
            triggered_dataset_id=triggered_dataset_id,
        )
        case = self._create(f"/projects/{project_id}/cases", body, Case)
        if wait:
            self._wait_for(case.job_id, on_progress)
        return self.case(case.id)

    def estimate(self, project_id: str, body: CaseCreate) -> CaseEstimate:
        """What a case would cost; nothing is stored."""
        answer = self._send("POST", f"/api/v1/projects/{project_id}/cases/estimate", json=body.model_dump(mode="json"))
        return CaseEstimate.model_validate_json(answer.content)

    def case(self, case_id: str) -> Case:
        """A case by id."""
        return self._get(f"/cases/{case_id}", Case)

    def early(self, case_id: str) -> EarlyLook | None:
        """What the training images say that are looked at so far, while a case is being scored."""
        answer = self._send("GET", f"/api/v1/cases/{case_id}/early").content
        return None if answer == b"null" else EarlyLook.model_validate_json(answer)

    def cases(self, project_id: str) -> Iterator[Case]:
        """All cases of a project, newest first."""
        return self._pages(f"/projects/{project_id}/cases", Case)

    def scores(self, case_id: str, **filters: Any) -> Iterator[ScoreRow]:
        """Training images with their scores, best posterior first; `filters` as in GET /cases/{id}/scores."""
        return self._pages(f"/cases/{case_id}/scores", ScoreRow, **filters)

    def columns(self, case_id: str, *names: ScoreColumnName) -> dict[str, NDArray[Any]]:
        """Every training image's scores, one array for each column; only those that are named, where any are."""
        answer = self._send("GET", f"/api/v1/cases/{case_id}/columns", params={"names": list(names)})
        return arrays(ScoreColumns.model_validate_json(answer.content))

    def map(
        self, case_id: str, method: MapMethod = "pca", on_progress: OnProgress | None = None
    ) -> NDArray[np.float32]:
        """Where the fingerprint of every training image lies in a plane, [n, 2]; nan where the map does not show it."""
        found = self._get(f"/maps/{self._make_map(case_id, method, on_progress)}/columns", MapColumns)
        return np.stack([_array(column) for column in (found.x, found.y)], axis=1)

    def figure(self, case_id: str, name: str = "shift_histogram") -> Any:
        """A figure of a case as `plotly.graph_objects.Figure`, which a notebook shows.

        name: shift_histogram, score_histogram, transform_heatmap or class_accuracy.
        """
        from plotly.graph_objects import Figure  # seconds, which only those who want a figure shall wait

        return Figure(self.get(f"/api/v1/cases/{case_id}/figures/{name}"))

    def nearest(self, case_id: str, index: int, limit: int = 12) -> Nearest:
        """The suspects nearest to one; the map by main axes is asked for where it is not made yet."""
        path = f"/cases/{case_id}/nearest/{index}?limit={limit}"
        try:
            return self._get(path, Nearest)
        except ApiError as error:
            if error.code != "map_not_finished":
                raise
        self._make_map(case_id, "pca", None)
        return self._get(path, Nearest)

    def related(self, case_id: str) -> list[RelatedCase]:
        """Other cases that flag some of the same training images."""
        return [RelatedCase.model_validate(r) for r in self.get(f"/api/v1/cases/{case_id}/related")]

    def beside(self, case_id: str, other_id: str) -> CasesBeside:
        """Two cases side by side: which images both flag, how their scores agree, what was asked differently."""
        return self._get(f"/cases/{case_id}/beside/{other_id}", CasesBeside)

    def report(self, case_id: str) -> Report:
        """Everything that is known of a case."""
        return self._get(f"/cases/{case_id}/report", Report)

    def save_report(self, case_id: str, target: Path) -> Path:
        """Save a case's report; the suffix of `target` decides: .html, or .pdf where the server can print."""
        if target.suffix not in (".html", ".pdf"):
            raise ValueError(f"a report is .html or .pdf, not '{target.suffix}'; `report` gives it as an object")
        return self.download(f"/api/v1/cases/{case_id}/report{target.suffix}", target)

    def save_bundle(self, case_id: str, target: Path) -> Path:
        """Save all that a finding rests on as a zip that `orfila verify-bundle` checks and runs again."""
        return self.download(f"/api/v1/cases/{case_id}/bundle.zip", target)

    def flagged(self, case_id: str) -> list[int]:
        """`index` of the flagged training images, ascending."""
        found = self.columns(case_id)
        return [int(i) for i in np.sort(found["index"][found["flagged"] == 1])]

    def verdicts(self, case_id: str) -> list[Verdict]:
        """Every reviewer's current verdicts on a case."""
        answer = self._send("GET", f"/api/v1/cases/{case_id}/verdicts")
        return [Verdict.model_validate(v) for v in answer.json()]

    def judge(
        self, case_id: str, verdicts: dict[int, VerdictValue | None], reason: str | None = None
    ) -> VerdictsPosted:
        """Give verdicts on training images by `index`; None takes one's own verdict back."""
        items = [VerdictItem(index=i, verdict=v, reason=reason) for i, v in verdicts.items()]
        return self._create(f"/cases/{case_id}/verdicts", VerdictsPost(items=items), VerdictsPosted)

    def review(self, case_id: str) -> ReviewProgress:
        """How far the review is, and what it says of the flagged set."""
        return self._get(f"/cases/{case_id}/review", ReviewProgress)

    def next_to_judge(self, case_id: str, limit: int = 100) -> list[int]:
        """`index` of the suspects to judge first, the most informative one first."""
        answer = self._send("GET", f"/api/v1/cases/{case_id}/review/next", params={"limit": limit})
        return NextImages.model_validate(answer.json()).images

    def agreement(self, case_id: str) -> Agreement:
        """How far the reviewers of a case agree beyond chance."""
        return self._get(f"/cases/{case_id}/agreement", Agreement)

    def undo(self, case_id: str) -> list[VerdictItem]:
        """Take back what one has judged last in one request; the verdicts as they are now."""
        return self._restore(case_id, "undo")

    def redo(self, case_id: str) -> list[VerdictItem]:
        """Give again what was taken back last."""
        return self._restore(case_id, "redo")

    def members(self, project_id: str) -> list[Member]:
        """Who belongs to a project."""
        return [Member.model_validate(m) for m in self._send("GET", f"/api/v1/projects/{project_id}/members").json()]

    def add_member(self, project_id: str, name: str, role: Role) -> Member:
        """Let a person who has an account into a project."""
        return self._create(f"/projects/{project_id}/members", MemberAdd(name=name, role=role), Member)

    def invite(self, name: str, *, email: str | None = None, is_administrator: bool = False) -> SignInLink:
        """A new person, and the link that lets them in once. For administrators."""
        body = UserCreate(name=name, email=email, is_administrator=is_administrator)
        return self._create("/users", body, SignInLink)

    def open_round(self, case_id: str, body: RoundCreate) -> Round:
        """Split a case's images over reviewers."""
        return self._create(f"/cases/{case_id}/rounds", body, Round)

    def rounds(self, case_id: str) -> list[Round]:
        """The review rounds of a case, the newest first."""
        return [Round.model_validate(r) for r in self._send("GET", f"/api/v1/cases/{case_id}/rounds").json()]

    def queue(self, round_id: str, kind: QueueKind = "mine") -> Queue:
        """What there is to do in a round."""
        return Queue.model_validate(self._send("GET", f"/api/v1/rounds/{round_id}/queue", params={"kind": kind}).json())

    def sign_off(self, round_id: str) -> Round:
        """Say that a round is done."""
        return Round.model_validate_json(self._send("POST", f"/api/v1/rounds/{round_id}/sign-off").content)

    def resolve(self, case_id: str, index: int, verdict: VerdictValue, reason: str | None = None) -> Resolution:
        """Give the final word on an image that reviewers disagreed about."""
        body = VerdictItem(index=index, verdict=verdict, reason=reason).model_dump()
        answer = self._send("PUT", f"/api/v1/cases/{case_id}/resolutions", json=body)
        return Resolution.model_validate_json(answer.content)

    def resolutions(self, case_id: str) -> list[Resolution]:
        """The final words on a case's images."""
        return [Resolution.model_validate(r) for r in self._send("GET", f"/api/v1/cases/{case_id}/resolutions").json()]

    def check_audit(self) -> ChainCheck:
        """Whether the chain of the audit trail is whole, and its head."""
        return self._get("/audit/check", ChainCheck)

    def learn(self, case_id: str, *, on_progress: OnProgress | None = None) -> Case:
        """Fit the finding again with the verdicts that the team has given; waits for it. Raises JobFailed."""
        job = self._send("POST", f"/api/v1/cases/{case_id}/refit")
        self._wait_for(Job.model_validate_json(job.content).id, on_progress)
        return self.case(case_id)

    # Remedies

    def preview_removal(self, case_id: str, remove: RemovalSet | None = None) -> RemovalPreview:
        """What removing some images (default: the flagged ones) is expected to do to each affected image."""
        wanted = remove or RemovalSet(kind="flagged", threshold=None)
        params = wanted.model_dump(exclude_none=True)
        answer = self._send("GET", f"/api/v1/cases/{case_id}/remedies/preview", params=params)
        return RemovalPreview.model_validate(answer.json())

    def repair(
        self,
        case_id: str,
        method: Method,
        *,
        remove: RemovalSet | None = None,
        epochs: int | None = None,
        learning_rate: float | None = None,
        seed: int = 0,
        on_progress: OnProgress | None = None,
    ) -> Remedy:
        """Repair the case's model without some images (default: the flagged ones) and wait for its verification."""
        body = RemedyCreate(
            method=method,
            remove=remove or RemovalSet(kind="flagged", threshold=None),
            epochs=epochs,
            learning_rate=learning_rate,
            seed=seed,
        )
        remedy = self._create(f"/cases/{case_id}/remedies", body, Remedy)
        self._wait_for(remedy.job_id, on_progress)
        return self.remedy(remedy.id)

    def remedy(self, remedy_id: str) -> Remedy:
        """A remedy by id."""
        return self._get(f"/remedies/{remedy_id}", Remedy)

    def remedies(self, case_id: str) -> list[Remedy]:
        """The remedies of a case."""
        return [Remedy.model_validate(r) for r in self._send("GET", f"/api/v1/cases/{case_id}/remedies").json()]

    # Drills, sweeps and comparisons

    def start_drill(self, project_id: str, body: DrillCreate) -> Drill:
        """Start planting a known poison in a copy of a data set; `run_drill` waits for its outcome."""
        return self._create(f"/projects/{project_id}/drills", body, Drill)

    def run_drill(self, project_id: str, body: DrillCreate, on_progress: OnProgress | None = None) -> Drill:
        """Plant, train, investigate, and wait for the outcome. Raises JobFailed when the poison fools no image."""
        drill = self.start_drill(project_id, body)
        self._wait_for(drill.job_id, on_progress)
        return self.drill(drill.id)

    def drill(self, drill_id: str) -> Drill:
        """A drill by id."""
        return self._get(f"/drills/{drill_id}", Drill)

    def drills(self, project_id: str) -> Iterator[Drill]:
        """All drills of a project, newest first."""
        return self._pages(f"/projects/{project_id}/drills", Drill)

    def sweep(self, project_id: str, model_id: str, on_progress: OnProgress | None = None) -> Sweep:
        """Look for poison in every class of a model's training data, and wait for the outcome."""
        sweep = self._create(f"/projects/{project_id}/sweeps", SweepCreate(model_id=model_id), Sweep)
        self._wait_for(sweep.job_id, on_progress)
        return self._get(f"/sweeps/{sweep.id}", Sweep)

    def compare(
        self, case_id: str, detectors: list[str] | None = None, on_progress: OnProgress | None = None
    ) -> Comparison:
        """Run other detectors on a case (default: all) and wait for what they flag."""
        body = ComparisonCreate(detectors=detectors)
        comparison = self._create(f"/cases/{case_id}/comparisons", body, Comparison)
        self._wait_for(comparison.job_id, on_progress)
        return self._get(f"/comparisons/{comparison.id}", Comparison)

    def check_model(
        self, model_id: str, case_ids: list[str] | None = None, on_progress: OnProgress | None = None
    ) -> RegressionCheck:
        """Hold a model against closed cases (default: all of its project), and wait for what it says."""
        check = self._create(f"/models/{model_id}/checks", CheckCreate(case_ids=case_ids), RegressionCheck)
        self._wait_for(check.job_id, on_progress)
        return self._get(f"/checks/{check.id}", RegressionCheck)

    # Jobs

    def job(self, job_id: str) -> JobDetail:
        """A job by id, with its shards."""
        return self._get(f"/jobs/{job_id}", JobDetail)

    def job_log(self, job_id: str) -> list[LogLine]:
        """The first 500 lines of a job's log."""
        return [LogLine.model_validate(line) for line in self._send("GET", f"/api/v1/jobs/{job_id}/log").json()]

    def cancel(self, job_id: str) -> Job:
        """Stop a job."""
        return Job.model_validate_json(self._send("POST", f"/api/v1/jobs/{job_id}/cancel").content)

    def retry(self, job_id: str) -> Job:
        """Run a failed or cancelled job again."""
        return Job.model_validate_json(self._send("POST", f"/api/v1/jobs/{job_id}/retry").content)

    def workers(self) -> list[Worker]:
        """The workers that are there."""
        return [Worker.model_validate(worker) for worker in self._send("GET", "/api/v1/workers").json()]

    def wait(self, job_id: str, on_progress: OnProgress | None = None, timeout: float | None = None) -> JobDetail:
        """Wait for the end of a job. Raises JobFailed when it did not succeed, TimeoutError after `timeout` seconds."""
        began = time.monotonic()
        pause = _POLL_SECONDS
        while True:
            job = self.job(job_id)
            if on_progress is not None:
                on_progress(f"{job.kind}: {job.phase or job.state}", job.progress)
            if job.state == "succeeded":
                return job
            if job.state in _OVER:
                raise JobFailed(job)
            if timeout is not None and time.monotonic() - began > timeout:
                raise TimeoutError(f"job {job_id} is {job.state} after {timeout:.0f} seconds")
            time.sleep(pause)
            pause = min(_SLOWEST_POLL_SECONDS, pause * 1.1)

    def _restore(self, case_id: str, which: str) -> list[VerdictItem]:
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        answer = self._send("POST", f"/api/v1/cases/{case_id}/verdicts/{which}", headers=headers)
        return VerdictsRestored.model_validate_json(answer.content).items

    def _make_map(self, case_id: str, method: MapMethod, on_progress: OnProgress | None) -> str:
        """Ask for a map and wait for it; its id."""
        made = self._create(f"/cases/{case_id}/maps", MapCreate(method=method), FingerprintMap)
        self._wait_for(made.job_id, on_progress)
        return made.id

    def _wait_for(self, job_id: str | None, on_progress: OnProgress | None) -> None:
        assert job_id is not None, "what was just created has a job"
        job = self.job(job_id)
        for need in job.depends_on:
            self.wait(need, on_progress)
        self.wait(job_id, on_progress)

    # HTTP

    def _get(self, path: str, kind: type[Body]) -> Body:
        return kind.model_validate_json(self._send("GET", f"/api/v1{path}").content)

    def _create(self, path: str, body: BaseModel, kind: type[Body]) -> Body:
        # The key makes it safe to send again: the server answers the second time what it did the first time.
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        answer = self._send("POST", f"/api/v1{path}", json=body.model_dump(mode="json"), headers=headers)
        return kind.model_validate_json(answer.content)

    def _pages(self, path: str, kind: type[Body], **filters: Any) -> Iterator[Body]:
        query = {k: v for k, v in filters.items() if v is not None}
        while True:
            page = self._send("GET", f"/api/v1{path}", params=query).json()
            yield from (kind.model_validate(item) for item in page["items"])
            if page["next_cursor"] is None:
                return
            query["cursor"] = page["next_cursor"]

    def _send_piece(
        self, upload_id: str, path: Path, offset: int, length: int, size: int, on_progress: OnProgress | None
    ) -> int:
        headers = {
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(length),
            "Tus-Resumable": "1.0.0",
            "Upload-Offset": str(offset),
        }

        def body() -> Iterator[bytes]:
            at, end = offset, offset + length
            with path.open("rb") as file:
                file.seek(offset)
                while at < end and (data := file.read(min(_READ_BYTES, end - at))):
                    yield data
                    at += len(data)
                    if on_progress is not None:
                        on_progress(f"uploading {path.name}", at / size)

        answer = self._send("PATCH", f"/api/v1/uploads/{upload_id}", content=body(), headers=headers)
        return int(answer.headers["Upload-Offset"])

    def _send(self, method: str, path: str, **how: Any) -> httpx.Response:
        answer = self._http.request(method, path, **how)
        if answer.is_error:
            _raise(answer)
        return answer


def _next_piece(piece: int, seconds: float) -> int:
    """Bytes of the next piece of an upload, after one took some seconds: at most eight times as many."""
    least, most = _PIECE_BYTES
    return int(min(most, max(least, piece * min(8.0, _PIECE_SECONDS / max(seconds, 1e-6)))))


def arrays(columns: ScoreColumns) -> dict[str, NDArray[Any]]:
    """Typed columns as numpy arrays; see `ScoreColumns`."""
    return {name: _array(column) for name, column in columns.columns.items()}


def _array(column: Column) -> NDArray[Any]:
    little = {"int32": "<i4", "float32": "<f4", "uint16": "<u2", "uint8": "u1"}
    return np.frombuffer(base64.b64decode(column.data), dtype=little[column.dtype])


def _raise(answer: httpx.Response) -> None:
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    code, detail = problem.get("code", "error"), problem.get("detail", answer.reason_phrase)
    raise ApiError(answer.status_code, code, detail)
