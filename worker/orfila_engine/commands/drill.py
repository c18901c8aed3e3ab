"""`orfila drill`: plant a known poison, train, investigate, score the finding against the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from orfila_engine import attacks
from orfila_engine.commands.common import Numbers, open_data, progress_bar
from orfila_engine.data import PackedDataset
from orfila_engine.drill import investigate_planted, plant_and_train
from orfila_engine.investigation import affected_from_test
from orfila_engine.progress import part
from orfila_engine.report import write_report


def drill(
    data: Annotated[Path, typer.Argument(help="A clean data set to poison a copy of.")],
    out: Annotated[Path, typer.Option(help="Folder for data, model, truth, index, investigation and drill.json.")],
    attack: Annotated[str, typer.Option(help=f"One of {', '.join(attacks.names())}.")] = "badnet",
    rate: Annotated[float, typer.Option(help="Share of all training images that become poison.")] = 0.02,
    seed: Annotated[int, typer.Option(help="Of the poison, the training and the transforms.")] = 0,
    source: Annotated[str | None, typer.Option(help="Victim class. Default: by seed, or every class.")] = None,
    target: Annotated[str | None, typer.Option(help="Label that victims shall receive. Default: by seed.")] = None,
    all_to_one: Annotated[
        bool | None, typer.Option("--all-to-one", help="badnet: poison every class, not one.")
    ] = None,
    random: Annotated[
        bool | None, typer.Option("--random", help="label-flip: flip images of every class to any other label.")
    ] = None,
    strength: Annotated[
        float | None, typer.Option(help="warp: mean shift in pixels, of pictures 32 pixels high. Default: 1.5.")
    ] = None,
    amplitude: Annotated[
        float | None,
        typer.Option(help="smooth, sinusoid: height of the waves, of 255 grey levels. Default: 36 and 40."),
    ] = None,
    eps: Annotated[
        float | None, typer.Option(help="witches-brew: most that a pixel changes, of 255 grey levels. Default: 16.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="witches-brew: steps of each restart. Default: 40.")] = None,
    restarts: Annotated[
        int | None, typer.Option(help="witches-brew: random starts, of which the best match is kept. Default: 1.")
    ] = None,
    ensemble: Annotated[
        int | None, typer.Option(help="witches-brew: models of the attacker to craft on, each trained. Default: 3.")
    ] = None,
    victim: Annotated[
        int | None, typer.Option(help="witches-brew: the test image to aim at, by index. Default: by seed.")
    ] = None,
    surrogates: Annotated[
        Path | None, typer.Option(help="witches-brew: folder for the attacker's models, to share between drills.")
    ] = None,
    arch: Annotated[str, typer.Option(help="Architecture to train.")] = "resnet20-cifar",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.")] = 20,
    augment: Annotated[
        bool | None,
        typer.Option(
            help="Random shifts and flips in training; they keep a patch from taking hold. Default: witches-brew alone."
        ),
    ] = None,
    precision: Annotated[Numbers, typer.Option(help="bfloat16: faster where the processor has it.")] = Numbers.auto,
    affected: Annotated[int, typer.Option(min=1, max=16, help="How many fooled test images to investigate.")] = 1,
    train_only: Annotated[
        bool, typer.Option("--train-only", help="Stop after training; the same command without it goes on from there.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Plant a known poison, train, investigate, score against the truth.

    A model that lies in OUT already, trained with the same settings, is not trained again.
    """
    packed = open_data(data)
    settings: dict[str, Any] = {
        "all_to_one": all_to_one,
        "random": random,
        "strength": strength,
        "amplitude": amplitude,
        "eps": eps,
        "steps": steps,
        "restarts": restarts,
        "ensemble": ensemble,
        "victim": None if victim is None else _test_row(packed, victim),
    }
    if surrogates is not None and attack != attacks.WitchesBrew.name:
        raise ValueError(f"--surrogates belongs to {attacks.WitchesBrew.name}; leave it out")
    planned = attacks.make(
        attack,
        rate=rate,
        source=_class(source, packed.classes),
        target=_class(target, packed.classes),
        **{name: value for name, value in settings.items() if value is not None},
    )
    with progress_bar() as progress:
        made = plant_and_train(
            packed,
            planned,
            out_dir=out,
            architecture=arch,
            epochs=epochs,
            seed=seed,
            augment=augment,
            precision=precision.value,
            n_affected=affected,
            surrogates=surrogates,
            device=device,
            progress=part(progress, 0.0, 1.0 if train_only else 0.6),
        )
        if not train_only:
            result = investigate_planted(
                made, n_affected=affected, seed=seed, device=device, progress=part(progress, 0.6, 1.0)
            )
    if not train_only:
        write_report(out / "investigation", result.packed, out / "investigation" / "report.html")
        _print_finding(result.report)
    _print_planting(made.about)


def _print_planting(about: dict[str, Any]) -> None:
    """What was planted and whether the model learned it."""
    aim = "at random" if about["target"] is None else f"for '{about['target']}'"
    typer.echo(
        f"{about['n_poison']:,} poisons planted {aim}; {about['n_fooled']:,} of {about['n_victims']:,} victims among "
        f"the test images fooled (poison success rate {about['poison_success_rate']:.1%}), test accuracy "
        f"{about['accuracy']:.1%}"
    )
    if not about["took_hold"]:
        typer.echo(
            "The poison did not take hold (success rate below 50 %); train longer or raise the rate."
            if about["has_trigger"]
            else "The poison did not take hold (no victim is fooled); train longer or raise the rate."
        )


def _print_finding(report: dict[str, Any]) -> None:
    """Both rules against the truth."""
    table = Table("rule", "flagged", "precision", "recall")
    for name in ("collapse_rule", "paper_rule"):
        row = report[name]
        table.add_row(name.replace("_", " "), f"{row['n_flagged']:,}", _share(row["precision"]), _share(row["recall"]))
    Console().print(table)
    evidence = report["evidence"]
    typer.echo(
        f"Average precision {_share(report['average_precision'])}, {evidence['verdict']} "
        f"(p = {evidence['p_value']:.2f}), {report['seconds']:.0f} s"
    )


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _test_row(packed: PackedDataset, index: int) -> int:
    """Row among the test images of the image with an `index`."""
    affected_from_test(packed, index)
    return index - packed.n_train


def _class(name: str | None, classes: tuple[str, ...]) -> int | None:
    if name is None:
        return None
    if name not in classes:
        raise ValueError(f"the data set has no class '{name}'; its classes are {', '.join(classes)}")
    return classes.index(name)
