"""`orfila pack`: a data set in the form that every command works on, with choices that other commands do not offer."""

from __future__ import annotations

import shutil
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from orfila_engine.commands.common import progress_bar
from orfila_engine.data import pack as run
from orfila_engine.data.formats import open_source
from orfila_engine.data.sources import read_class_list


class Labels(StrEnum):
    """Which labels of CIFAR-100."""

    fine = "fine"
    coarse = "coarse"


class Broken(StrEnum):
    """What happens when a picture cannot be decoded."""

    refuse = "refuse"
    skip = "skip"


def pack(
    data: Annotated[Path, typer.Argument(help="Class folders, zip, tar, NPZ, Parquet, IDX or CIFAR binary.")],
    out: Annotated[Path, typer.Option(help="Folder to make; every command takes it as DATA.")],
    size: Annotated[
        str | None,
        typer.Option(help="Resize all pictures, e.g. 64 or 64x48 (width x height). Default: the most frequent."),
    ] = None,
    labels: Annotated[Labels | None, typer.Option(help="CIFAR-100: 100 fine or 20 coarse classes.")] = None,
    broken: Annotated[
        Broken, typer.Option(help="Refuse the data set because of a broken picture, or leave the picture out.")
    ] = Broken.refuse,
    seed: Annotated[int, typer.Option(help="Of the test split, where the data have none.")] = 0,
    class_names: Annotated[
        Path | None,
        typer.Option(
            help="Names for classes: a folder or label a line, a tab, its name. One name twice makes one class."
        ),
    ] = None,
) -> None:
    """Read a data set once, at a size of your choice."""
    if out.exists():
        raise ValueError(f"{out} exists already; choose another folder, or remove it")
    chosen = None if size is None else _size(size)
    source = open_source(data, None if labels is None else labels.value)
    names = None if class_names is None else read_class_list(class_names.read_bytes(), class_names.name)
    try:
        with progress_bar() as progress:
            packed = run(
                source,
                out,
                on_broken=broken.value,
                size=chosen,
                seed=seed,
                class_names=names,
                progress=lambda done, total: progress("reading pictures", done / max(1, total)),
            )
    finally:
        shutil.rmtree(out.with_name(out.name + ".part"), ignore_errors=True)
    height, width, channels = packed.pixels.shape[1:]
    kind = "grey" if channels == 1 else "colour"
    typer.echo(
        f"{out}: {packed.n_train:,} training and {len(packed.labels) - packed.n_train:,} test pictures of "
        f"{width} x {height}, {kind}, {len(packed.classes)} classes"
    )
    for what, count in packed.meta["converted"].items():
        typer.echo(f"{count:,} {what}")
    if packed.meta["n_skipped"]:
        first = packed.meta["skipped"][0]
        typer.echo(f"{packed.meta['n_skipped']:,} files left out, the first: {first['name']} ({first['reason']})")


def _size(text: str) -> tuple[int, int]:
    """(height, width) from WIDTHxHEIGHT, or from one number for both."""
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(p.isdigit() for p in parts):
        raise ValueError(f"'{text}' is no size; write one number, as 64, or width x height, as 64x48")
    width, height = int(parts[0]), int(parts[-1])
    return height, width
