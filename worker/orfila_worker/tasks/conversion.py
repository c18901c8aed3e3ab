"""Conversion: an untrusted PyTorch file becomes safetensors, read in a sandboxed process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orfila.jobs.contracts import ConversionResult, ConversionSpec
from orfila_worker.conversion import convert_untrusted

if TYPE_CHECKING:
    from orfila_worker.runner import Work


def conversion(work: Work) -> ConversionResult:
    """Convert the file and store what came of it. Raises DataError for what is no state dict."""
    spec = ConversionSpec.model_validate(work.spec)
    target = work.folder / "model.safetensors"
    target.unlink(missing_ok=True)
    convert_untrusted(work.store.local_path(spec.weights), target, work.progress)
    work.progress("storing the weights", 1.0)
    return ConversionResult(weights=work.store.put_file(target), size=target.stat().st_size)
