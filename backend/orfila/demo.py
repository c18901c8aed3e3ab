"""`orfila demo`: the product running, opened on a finished real case that was made on the spot.

The pictures are real, the poison is planted, the model is trained here; everything then goes through the HTTP API, as a
user's own would. `--check` compares the flagged images with what was planted, prints one line and exits 0 or 1.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from orfila.client import Client
from orfila.errors import Unprocessable
from orfila.launcher import Launcher, chosen_settings, die_with_parent, running, serve
from orfila.remedies.schemas import Method, Verification
from orfila.settings import Settings

MIN_PRECISION, MIN_RECALL, MAX_PSR = 0.95, 0.95, 0.02
"""What `--check` asks for."""


@dataclass(frozen=True)
class Outcome:
    """The sample case against its truth."""

    case_id: str
    n_planted: int
    n_flagged: int
    precision: float
    recall: float
    evidence: str
    psr_before: float | None
    psr_after: float | None
    healed: bool

    @property
    def ok(self) -> bool:
        """Whether the poison was found, and the repair proved."""
        return (
            self.precision >= MIN_PRECISION
            and self.recall >= MIN_RECALL
            and self.evidence != "no evidence of poisoning"
            and self.healed
            and (self.psr_after or 0.0) <= MAX_PSR
        )

    def line(self) -> str:
        """One line for people and logs."""
        rates = "" if self.psr_after is None else f"; poison success rate {self.psr_before:.1%} → {self.psr_after:.1%}"
        return (
            f"{'ok' if self.ok else 'NOT OK'}: {self.evidence}; flagged {self.n_flagged} of {self.n_planted} planted, "
            f"precision {self.precision:.3f}, recall {self.recall:.3f}; affected image "
            f"{'' if self.healed else 'not '}healed{rates}"
        )


class Steps:
    """One line for each step, with its seconds."""

    def __init__(self) -> None:
        self._began = self._last = time.monotonic()

    def say(self, text: str) -> None:
        """A line with no time of its own."""
        typer.echo(f"  {text}")

    def done(self, text: str) -> None:
        """A finished step."""
        now = time.monotonic()
        typer.echo(f"✓ {text} ({now - self._last:.1f} s)")
        self._last = now

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._began


def demo(
    data: Annotated[
        Path | None,
        typer.Option(envvar="ORFILA_DEMO_DATA", help="Pictures to use: class folders, an archive, IDX, NPZ, Parquet."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Verify the finding against the truth, then exit 0 or 1.")
    ] = False,
    port: Annotated[int | None, typer.Option(help="Port of the page and the API.", min=1, max=65535)] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder for everything that is stored.")] = None,
) -> None:
    """Run everything, with a finished sample case."""
    if data is not None and not data.exists():
        raise ValueError(f"{data} does not exist; give a folder or file of pictures to --data or ORFILA_DEMO_DATA")
    settings = chosen_settings(port, data_dir)
    steps = Steps()
    if check:
        with running(settings, steps.say) as launcher:
            outcome = walk(launcher, settings, data, steps)
        typer.echo(f"{outcome.line()} ({steps.seconds:.0f} s)")
        raise typer.Exit(0 if outcome.ok else 1)

    def started(launcher: Launcher) -> None:
        outcome = walk(launcher, settings, data, steps)
        typer.echo(f"{outcome.line()} ({steps.seconds:.0f} s)")
        typer.echo(
            f"\nOpen {launcher.sign_in_link()}\n\nCtrl-C stops everything; what you did is kept in {settings.data_dir}."
        )

    serve(settings, steps.say, started)


def walk(launcher: Launcher, settings: Settings, data: Path | None, steps: Steps) -> Outcome:
    """Make the sample case and walk it through the API to a verified repair; a finished one is used again."""
    folder = settings.data_dir.resolve() / "demo"
    kept = folder / "outcome.json"
    if kept.is_file():
        steps.done("the sample case is there from an earlier start")
        return Outcome(**json.loads(kept.read_text()))
    sample = _make_sample(folder / "sample", data, settings, steps)
    with Client.sign_in(launcher.sign_in_link()) as client:
        outcome = _investigate(client, folder / "sample", sample, steps)
    kept.write_text(json.dumps(outcome.__dict__))
    return outcome


def _make_sample(folder: Path, data: Path | None, settings: Settings, steps: Steps) -> dict[str, Any]:
    """In a process of its own: this package imports no torch."""
    described = folder / "sample.json"
    if not described.is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "orfila_engine.sample", "--out", str(folder), "--device", settings.device]
        command += [] if data is None else ["--data", str(data.resolve())]
        with subprocess.Popen(  # noqa: S603 - our own program
            command,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            for line in process.stdout:
                steps.say(line.rstrip())
            problem = process.stderr.read().strip()
        if process.returncode != 0:
            raise Unprocessable(f"The sample case could not be made: {problem or 'the process was ended'}")
    sample: dict[str, Any] = json.loads(described.read_text())
    steps.done(
        f"planted {len(sample['truth'])} poisons in {sample['n_train']:,} pictures of {sample['name']}, trained on them"
    )
    return sample


def _investigate(client: Client, folder: Path, sample: dict[str, Any], steps: Steps) -> Outcome:
    project = client.projects()[0]
    name = sample["name"]
    dataset = client.add_dataset(project.id, folder / "data.zip", name=f"{name} (poisoned)")
    steps.done(f"uploaded and ingested {dataset.n_train + dataset.n_test:,} pictures")
    triggered = client.add_dataset(project.id, folder / "triggered.zip", name=f"{name}, pictures with the trigger")
    steps.done("uploaded pictures with the trigger, to measure the poison success rate")
    model = client.add_model(
        project.id, folder / "model.safetensors", dataset.id, name=f"{sample['architecture']} on {name}"
    )
    steps.done(f"uploaded and checked the model: test accuracy {model.accuracy_test or 0:.1%}")
    case = client.open_case(
        project.id,
        model.id,
        picture=folder / "affected.png",
        true_label=sample["classes"].index(sample["affected_label"]),
        name=f"{sample['affected_label']} predicted as {sample['target']}",
        triggered_dataset_id=triggered.id,
    )
    assert case.finding is not None
    steps.done(case.finding.sentence)
    flagged, truth = set(client.flagged(case.id)), set(sample["truth"])
    # Fine-tuning is tried first, since it is fast; it does not always forget, and then the model is retrained.
    healed, proof = _repair(client, case.id, "cf", "Fine-tuned", steps)
    if not healed:
        _, proof = _repair(client, case.id, "eu", "Retrained", steps)
    return Outcome(
        case_id=case.id,
        n_planted=len(truth),
        n_flagged=len(flagged),
        precision=len(flagged & truth) / max(1, len(flagged)),
        recall=len(flagged & truth) / len(truth),
        evidence=case.finding.evidence,
        psr_before=proof.psr_before,
        psr_after=proof.psr_after,
        healed=all(a.healed for a in proof.affected),
    )


def _repair(client: Client, case_id: str, method: Method, how: str, steps: Steps) -> tuple[bool, Verification]:
    remedy = client.repair(case_id, method)
    assert remedy.verification is not None
    steps.done(f"{how} without the flagged: {remedy.verification.sentence}")
    return remedy.state == "verified", remedy.verification
