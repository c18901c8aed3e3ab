"""PyTorch files: what is converted, and what is refused without running anything of it."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Product, Sample
from safetensors.torch import load_file
from torch import nn

from orfila.client import Client, JobFailed
from orfila_engine.architectures import ModelCard, build
from orfila_engine.data import DataError
from orfila_worker.conversion import convert_untrusted

CARD = ModelCard("resnet-nano", tuple("0123456789"), (32, 32), 3, (0.5,) * 3, (0.2,) * 3)
STATE = {"a": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3), "h": torch.ones(2, dtype=torch.bfloat16)}


def convert(folder: Path, saved: Any) -> dict[str, torch.Tensor]:
    """What becomes of an object that torch.save wrote."""
    torch.save(saved, folder / "m.pt")
    convert_untrusted(folder / "m.pt", folder / "m.safetensors", lambda doing, share: None)
    return load_file(folder / "m.safetensors")


def test_a_state_dict_comes_out_bit_for_bit(tmp_path: Path) -> None:
    state = build(CARD).state_dict()
    got = convert(tmp_path, state)
    assert set(got) == set(state)
    assert all(torch.equal(got[name], value) for name, value in state.items())


@pytest.mark.parametrize(
    "saved",
    [
        STATE,
        {"state_dict": STATE, "epoch": 7, "optimizer": {"lr": 0.1}},
        {"model": {"model_state_dict": STATE}},
        {f"module.{name}": value for name, value in STATE.items()},
        {"net": {f"module._orig_mod.{name}": value for name, value in STATE.items()}},
    ],
)
def test_what_training_scripts_put_around_it_is_taken_off(tmp_path: Path, saved: dict[str, Any]) -> None:
    got = convert(tmp_path, saved)
    assert set(got) == set(STATE)
    assert all(torch.equal(got[name], value) for name, value in STATE.items())


def test_tensors_that_share_memory_or_lie_across_it(tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    got = convert(tmp_path, {"tied": whole, "same": whole, "across": whole.T})
    assert torch.equal(got["across"], whole.T)
    assert torch.equal(got["same"], whole)


class Touch:
    """Unpickles as a call of os.system."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.canary}",)


def _zip(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(f"archive/{name}", data)
    return out.getvalue()


def _saved(saved: Any) -> bytes:
    out = io.BytesIO()
    torch.save(saved, out)
    return out.getvalue()


def _script() -> bytes:
    out = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), out)
    return out.getvalue()


HOSTILE: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "a program in a pickle": (lambda canary: _zip({"data.pkl": pickle.dumps(Touch(canary))}), "something else"),
    "a program beside tensors": (lambda canary: _saved({"w": torch.ones(2), "x": Touch(canary)}), "something else"),
    "a whole model": (lambda canary: _saved(nn.Linear(2, 2)), "something else"),
    "a list": (lambda canary: _saved([torch.ones(2)]), "list"),
    "a number among tensors": (lambda canary: _saved({"w": torch.ones(2), "lr": 0.1}), "'lr' is a float"),
    "TorchScript": (lambda canary: _script(), "TorchScript"),
    "no torch.save": (lambda canary: _zip({"x.txt": b"hello"}), "not written by torch.save"),
    "compressed": (lambda canary: _zip({"data.pkl": bytes(10**6)}, zipfile.ZIP_DEFLATED), "compressed"),
    "cut off": (lambda canary: _saved(STATE)[:-200], "damaged"),
    "a view of 400 GB": (lambda canary: _saved({"w": torch.ones(1).expand(10**11)}), "memory|something else"),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_state_dict_is_refused_with_a_sentence_and_runs_nothing(name: str, tmp_path: Path) -> None:
    make, sentence = HOSTILE[name]
    canary = tmp_path / "canary"
    (tmp_path / "m.pt").write_bytes(make(canary))
    with pytest.raises(DataError, match=sentence):
        convert_untrusted(tmp_path / "m.pt", tmp_path / "m.safetensors", lambda doing, share: None)
    assert not canary.exists()
    assert not (tmp_path / "m.safetensors").exists()


def test_the_programs_run_where_they_are_really_unpickled(tmp_path: Path) -> None:
    """Otherwise the test above would prove nothing."""
    canary = tmp_path / "canary"
    (tmp_path / "m.pt").write_bytes(HOSTILE["a program beside tensors"][0](canary))
    code = "import sys, torch; torch.load(sys.argv[1], weights_only=False)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "m.pt")], check=True, timeout=120)
    assert canary.exists()


@pytest.mark.parametrize("product", ["local"], indirect=True, scope="module")
def test_a_pytorch_file_becomes_a_checked_model(product: Product, sample: Sample, tmp_path: Path) -> None:
    product.environment["ORFILA_CONVERT_TORCH_FILES"] = "true"
    path = tmp_path / "victim.pt"
    torch.save({"state_dict": {f"module.{k}": v for k, v in load_file(sample.weights).items()}}, path)
    with Client.sign_in(product.start()) as client:
        project = client.projects()[0].id
        dataset = client.add_dataset(project, sample.archive)
        known = client.add_model(project, sample.weights, dataset.id)
        model = client.add_model(project, path, dataset.id, card=known.card)
        assert (model.state, model.accuracy_test) == ("ready", known.accuracy_test)
        torch.save([1, 2], path)
        with pytest.raises(JobFailed, match="no state dict"):
            client.add_model(project, path, dataset.id, card=known.card)


def test_the_sandbox_has_no_network_of_the_machine() -> None:
    """Where the kernel allows it: only a loopback interface that is down."""
    code = (
        "import socket; from orfila_worker.sandbox import confine; confine(); "
        "print(sorted(name for _, name in socket.if_nameindex()), flush=True); "
        "s = socket.socket(); s.settimeout(2); print(s.connect_ex(('127.0.0.1', 9)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    interfaces, connected = told.stdout.splitlines()
    if interfaces != "['lo']":
        pytest.skip("this kernel allows no network namespace; the audit hook is what is left")
    assert connected == "101", "the network is unreachable"
