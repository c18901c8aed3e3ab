"""A state dict that torch.save wrote becomes safetensors, in a process of its own that is thrown away afterwards.

The file is read by torch with `weights_only=True`, which builds tensors and plain containers and calls nothing else;
there is no other way to read it here, and the process ends if anything really unpickles.
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orfila_engine.data import DataError
from orfila_engine.progress import Progress
from orfila_worker.sandbox import ask, confine, say, watch

BASE_BYTES = 3 * 2**30
"""Memory of a process that has imported torch, with room to work."""
WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "weights")
"""Keys under which training scripts keep the state dict beside an optimizer's."""
PREFIXES = ("module.", "_orig_mod.")
"""What torch.nn.DataParallel and torch.compile put before every name."""
_HOW = 'save it anew: torch.save(model.state_dict(), "model.pt"), or better as safetensors'
MAX_TENSORS = 100_000


def convert_untrusted(source: Path, target: Path, progress: Progress) -> None:
    """Convert a PyTorch file in the sandbox. Raises DataError with what is wrong with it."""
    memory = BASE_BYTES + 3 * source.stat().st_size
    request = {"source": str(source), "target": str(target), "memory": memory}
    if ask("orfila_worker.conversion", request, progress) is None:
        raise DataError(
            "reading the file was stopped because it took too much memory or time, or tried something that weights do "
            f"not need; {_HOW}"
        )


def check_archive(source: Path) -> None:
    """Refuse a zip that is none of torch.save, before anything of it is interpreted. Raises DataError."""
    try:
        with zipfile.ZipFile(source) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise DataError(f"the file is damaged ({error}); {_HOW}") from error
    names = [entry.filename.partition("/")[2] for entry in entries]
    if "constants.pkl" in names or any(name.startswith("code/") for name in names):
        raise DataError(f"this is TorchScript, which is a program; {_HOW}")
    if "data.pkl" not in names:
        raise DataError(f"this zip was not written by torch.save; {_HOW}")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise DataError(f"the zip is compressed, which torch.save does not do; {_HOW}")
    if sum(entry.file_size for entry in entries) > source.stat().st_size:
        raise DataError(f"the zip claims more than it holds, as a decompression bomb does; {_HOW}")


def tensors_of(loaded: Any) -> dict[str, Any]:
    """The state dict in what was read, with its names as the model has them. Raises DataError when there is none."""
    import torch

    state = loaded
    while isinstance(state, Mapping) and (
        inner := next((state[key] for key in WRAPPERS if isinstance(state.get(key), Mapping)), None)
    ):
        state = inner
    if not isinstance(state, Mapping) or not state:
        raise DataError(f"the file holds a {type(loaded).__name__} and no state dict; {_HOW}")
    if len(state) > MAX_TENSORS:
        raise DataError(f"the file holds {len(state):,} entries; at most {MAX_TENSORS:,} are accepted")
    tensors: dict[str, torch.Tensor] = {}
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise DataError(f"the entry {str(name)[:80]!r} is a {type(value).__name__} and no tensor; {_HOW}")
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise DataError(f"the tensor {name[:80]!r} is sparse, quantised or empty of data; {_HOW}")
        tensors[name] = value.detach().clone(memory_format=torch.contiguous_format)  # tensors that share memory too
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def _main() -> None:
    request = json.loads(sys.stdin.read())
    confine(request["memory"])
    import torch
    from safetensors.torch import save_file

    torch.set_num_threads(1)
    watch()
    source = Path(request["source"])
    say(doing="reading the tensors", share=0.1)
    try:
        check_archive(source)
        loaded = torch.load(source, map_location="cpu", weights_only=True)
        tensors = tensors_of(loaded)
        say(doing="writing safetensors", share=0.6)
        save_file(tensors, request["target"])
    except DataError as error:
        say(error=str(error))
    except MemoryError:
        say(error=f"the file needs more memory than its size allows; {_HOW}")
    except Exception as error:  # torch raises many kinds; each means that the file holds something else than tensors
        first = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        say(error=f"the file holds something else than tensors, or is damaged ({first}); {_HOW}")
    else:
        say(n=len(tensors))


if __name__ == "__main__":
    _main()
