"""How the tests of figures save one: as the stages do."""

from __future__ import annotations

import io

from matplotlib import rc_context
from matplotlib.figure import Figure

from auglens.figures import SAVE_RC, SVG_METADATA


def saved(figure: Figure, kind: str = "svg") -> bytes:
    buffer = io.BytesIO()
    with rc_context(SAVE_RC):
        figure.savefig(buffer, format=kind, dpi=60, metadata=SVG_METADATA if kind == "svg" else None)
    return buffer.getvalue()
