"""The steps of reading an archive, as the sandboxed child runs them: all at once, or in parts.

Every request has `archive`, `labels` (of CIFAR-100, see `open_source`) and `options`, which are those of `pack`; steps
in parts have `survey` as well, the folder of the first reading, and `out_dir` is what a step writes:

pack     all of it: a pack
survey   the first reading, see `Survey`
fill     the pictures `start` .. `stop` - 1: a part
join     `parts`, the folders of all of them in order: a pack
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from orfila_engine.data.formats import open_source
from orfila_engine.data.pack import pack, pack_parts
from orfila_engine.data.parts import Part, fill, make_unique
from orfila_engine.data.survey import Survey, survey

Progress = Callable[[int, int], None]
_MANY = 100_000


def run(request: dict[str, Any], progress: Progress) -> None:
    """Run the step that a request names. Raises DataError for an archive that cannot be used."""
    _STEPS[request["step"]](request, Path(request["out_dir"]), request["options"], progress)


def _pack(request: dict[str, Any], out_dir: Path, options: dict[str, Any], progress: Progress) -> None:
    source = open_source(Path(request["archive"]), request["labels"])
    pack(source, out_dir, progress=progress, **options)


def _survey(request: dict[str, Any], out_dir: Path, options: dict[str, Any], progress: Progress) -> None:
    asked = {name: options[name] for name in ("on_broken", "size", "seed", "class_names")}
    source = open_source(Path(request["archive"]), request["labels"])
    # Nobody knows how many there are: a share that always moves on, which the watchdog of stalled jobs looks at.
    survey(source, **asked, progress=lambda seen: progress(seen, seen + _MANY)).save(out_dir)


def _fill(request: dict[str, Any], out_dir: Path, options: dict[str, Any], progress: Progress) -> None:
    part = fill(
        open_source(Path(request["archive"]), request["labels"]),
        Survey.open(Path(request["survey"])),
        request["start"],
        request["stop"],
        out_dir,
        on_broken=options["on_broken"],
        keep_originals=options["keep_originals"],
        atlases=options["atlases"],
        progress=progress,
    )
    make_unique(part)


def _join(request: dict[str, Any], out_dir: Path, options: dict[str, Any], _progress: Progress) -> None:
    parts = [Part.open(Path(path)) for path in request["parts"]]
    pack_parts(Survey.open(Path(request["survey"])), parts, out_dir, atlases=options["atlases"])


_STEPS = {"pack": _pack, "survey": _survey, "fill": _fill, "join": _join}
