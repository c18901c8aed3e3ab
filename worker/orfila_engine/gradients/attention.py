"""nn.MultiheadAttention in terms of Linear modules, so that its projections can be hooked like any other layer.

PyTorch's own forward multiplies by `in_proj_weight` and `out_proj.weight` without calling a module.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def expose_attention(model: nn.Module) -> None:
    """Give every plain self-attention of a model a child `in_proj` and a forward that calls it. Changes `model`.

    The parameters stay the same objects. Attention with other key or value sizes or with added biases is left alone.
    """
    for module in list(model.modules()):
        if type(module) is not nn.MultiheadAttention:
            continue
        if module.in_proj_weight is None or module.bias_k is not None or module.add_zero_attn:
            continue
        in_proj = nn.Linear(module.embed_dim, 3 * module.embed_dim, bias=module.in_proj_bias is not None, device="meta")
        in_proj.weight = module.in_proj_weight
        if module.in_proj_bias is not None:
            in_proj.bias = module.in_proj_bias
        module.add_module("in_proj", in_proj)
        module.forward = partial(_forward, module, module.forward)  # type: ignore[method-assign]


def _forward(
    module: nn.MultiheadAttention,
    original: object,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *args: object,
    **kwargs: object,
) -> tuple[Tensor, Tensor | None]:
    """Self-attention of [N, T, E] (or [T, N, E]) without masks; anything else goes to the original forward."""
    masked = any(a is not None and not isinstance(a, bool) for a in (*args, *kwargs.values()))
    plain = query is key and key is value and query.dim() == 3 and not masked and not kwargs.get("is_causal", False)
    if not plain:
        return original(query, key, value, *args, **kwargs)  # type: ignore[operator,no-any-return]
    x = query if module.batch_first else query.transpose(0, 1)
    n, t, e = x.shape
    # [N, T, 3E] -> three of [N, heads, T, E / heads]
    in_proj = module.get_submodule("in_proj")
    q, k, v = in_proj(x).view(n, t, 3, module.num_heads, e // module.num_heads).permute(2, 0, 3, 1, 4)
    out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, e)
    out = module.out_proj(out)
    return (out if module.batch_first else out.transpose(0, 1)), None


class _FastAttention:
    """PyTorch's switch of the fast path, one for the process, which several passes may need off at once."""

    lock = threading.Lock()
    passes = 0
    before = True


@contextmanager
def without_fast_path() -> Iterator[None]:
    """Transformer layers skip their modules, and so the hooks, on PyTorch's fast path for inference."""
    with _FastAttention.lock:
        if _FastAttention.passes == 0:
            _FastAttention.before = torch.backends.mha.get_fastpath_enabled()
            torch.backends.mha.set_fastpath_enabled(False)
        _FastAttention.passes += 1
    try:
        yield
    finally:
        with _FastAttention.lock:
            _FastAttention.passes -= 1
            if _FastAttention.passes == 0:
                torch.backends.mha.set_fastpath_enabled(_FastAttention.before)
