"""The phases of an investigation with EK-FAC that come before its finding; see `orfila_engine.ekfac.parts`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from orfila.jobs.contracts import EkfacPartResult, InvestigateSpec, Tree
from orfila_engine.ekfac import EkfacSpec, parts
from orfila_engine.investigation import one_symptom, predict_affected
from orfila_engine.progress import Progress
from orfila_engine.questions import ask_each
from orfila_worker.tasks.affected import affected_images
from orfila_worker.tasks.engines import kept_files, open_ekfac

if TYPE_CHECKING:
    from orfila_worker.runner import Work

SPEC = EkfacSpec()


class _Pass(TypedDict):
    device: str
    half_batch: bool
    progress: Progress


def phase(work: Work, spec: InvestigateSpec) -> EkfacPartResult:
    """Run the shard's phase."""
    return _PHASES[spec.phases[work.stage]](work, spec)


def carried(work: Work) -> list[EkfacPartResult]:
    """What the phase before has made, in order."""
    return [EkfacPartResult.model_validate(result) for result in work.earlier]


def _moments(work: Work, spec: InvestigateSpec) -> EkfacPartResult:
    model, card = work.warm.model(spec.weights, spec.card)
    pixels, _ = work.warm.pack(spec.pack).train
    out = _out(work) / parts.MOMENTS
    number = work.payload["number"]
    parts.write_moments(model, card, pixels, number, out, SPEC, **_pass(work))
    return EkfacPartResult(files=work.store.put_tree(out.parent))


def _bases(work: Work, spec: InvestigateSpec) -> EkfacPartResult:
    model, card = work.warm.model(spec.weights, spec.card)
    work.progress("eigenvectors of the layers' factors", 0.0)
    out = _out(work) / parts.BASES
    parts.join_moments(_paths(work, parts.MOMENTS), model, card, out, device=work.device)
    bases = work.store.put_tree(out.parent)
    work.discard.extend(before.files[parts.MOMENTS] for before in carried(work))
    return EkfacPartResult(files={}, bases=bases)


def _eigenvalues(work: Work, spec: InvestigateSpec) -> EkfacPartResult:
    model, card = work.warm.model(spec.weights, spec.card)
    pixels, _ = work.warm.pack(spec.pack).train
    [before] = carried(work)
    bases = work.store.materialise(before.bases, work.folder / "bases") / parts.BASES
    out = _out(work) / parts.EIGENVALUES
    number = work.payload["number"]
    parts.write_eigenvalues(model, card, pixels, number, bases, out, SPEC, **_pass(work))
    return EkfacPartResult(files=work.store.put_tree(out.parent), bases=before.bases)


def _factors(work: Work, spec: InvestigateSpec) -> EkfacPartResult:
    model, card = work.warm.model(spec.weights, spec.card)
    work.progress("corrected eigenvalues", 0.0)
    before = carried(work)
    bases = work.store.materialise(before[0].bases, work.folder / "bases") / parts.BASES
    folder, packed = work.folder / "ekfac", work.warm.pack(spec.pack)
    paths = _paths(work, parts.EIGENVALUES)
    parts.join_eigenvalues(paths, bases, model, card, packed, folder, SPEC, device=work.device)
    work.discard.extend([*(b.files[parts.EIGENVALUES] for b in before), *before[0].bases.values()])
    return EkfacPartResult(files={}, engine=work.store.put_tree(folder))


def _influences(work: Work, spec: InvestigateSpec) -> EkfacPartResult:
    model, card = work.warm.model(spec.weights, spec.card)
    packed = work.warm.pack(spec.pack)
    files = carried(work)[0].engine if work.earlier else kept_files(work, spec.index_id)
    engine = open_ekfac(work, files, model, card, packed)
    affected = affected_images(work, spec.affected, packed, card)
    predicted = one_symptom(predict_affected(model, card, affected), affected, card)
    asked = ask_each(engine, model, card, (a.pixels for a in affected), predicted, n_b=spec.n_queries, seed=spec.seed)
    out_dir = _out(work)
    start, stop, number = (work.payload[name] for name in ("start", "stop", "number"))
    parts.write_answers(engine, asked, start, stop, out_dir, number, work.progress)
    return EkfacPartResult(files=work.store.put_tree(out_dir), engine=files)


def joined_engine(work: Work) -> Tree:
    """The files of the engine after the phase of influences, with its store."""
    before = carried(work)
    return before[0].engine | {n: s for b in before for n, s in b.files.items() if n != parts.ANSWERS}


def answer_files(work: Work) -> list[Path]:
    """The parts' influences, in order."""
    return _paths(work, parts.ANSWERS)


def drop_answers(work: Work) -> None:
    """Let the stored influences of the parts go once the finding is made of them."""
    work.discard.extend(before.files[parts.ANSWERS] for before in carried(work))


def _out(work: Work) -> Path:
    folder = work.folder / "part"
    shutil.rmtree(folder, ignore_errors=True)  # of an attempt before
    folder.mkdir()
    return folder


def _paths(work: Work, name: str) -> list[Path]:
    """One file of each shard of the phase before."""
    return [
        work.store.materialise({name: before.files[name]}, work.folder / f"before-{n:05d}") / name
        for n, before in enumerate(carried(work))
    ]


def _pass(work: Work) -> _Pass:
    return _Pass(device=work.device, half_batch=work.half_batch, progress=work.progress)


_PHASES = {
    "moments": _moments,
    "bases": _bases,
    "eigenvalues": _eigenvalues,
    "factors": _factors,
    "influences": _influences,
}
