"""Explanations: which layer, raw maps by Grad-CAM and its kin, finished maps.

Names are looked up on first use, so that `from auglens.saliency import finish` loads numpy and no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auglens.saliency.explanation import Explanation, explain, explain_each
    from auglens.saliency.finishing import finish
    from auglens.saliency.layers import check_map_size, map_size, target_layer
    from auglens.saliency.methods import METHODS
    from auglens.saliency.sanity import cascade, sanity_maps

__all__ = [
    "METHODS",
    "Explanation",
    "cascade",
    "check_map_size",
    "explain",
    "explain_each",
    "finish",
    "map_size",
    "sanity_maps",
    "target_layer",
]

_HOMES = {
    "METHODS": "methods",
    "Explanation": "explanation",
    "explain": "explanation",
    "explain_each": "explanation",
    "finish": "finishing",
    "cascade": "sanity",
    "check_map_size": "layers",
    "map_size": "layers",
    "sanity_maps": "sanity",
    "target_layer": "layers",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
