"""compose: conf/ → params.yaml, as `dvc exp run` would write it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from auglens import artifacts, config

MOST_TOLD = 6


def composed(overrides: Sequence[str], folder: Path) -> str:
    """The composition of `folder`'s groups under Hydra's `overrides`, as YAML."""
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_dir(str(folder.resolve()), version_base=None):
            values = OmegaConf.to_container(compose("config", list(overrides)), resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        first = next(line for line in str(error).splitlines() if line.strip())
        # A search has dozens, which would hide what is wrong; Hydra names the one that it is.
        given = " ".join(overrides) if len(overrides) <= MOST_TOLD else f"{len(overrides)} overrides"
        raise ValueError(f"{given}: {first} (the groups and their options stand in conf/)") from None
    return yaml.safe_dump(values, sort_keys=False, default_flow_style=None)


def run(overrides: Sequence[str]) -> None:
    text = composed(overrides, Path("conf"))
    config.from_mapping(yaml.safe_load(text))
    artifacts.save_text("params.yaml", text)
    print(f"compose: params.yaml written{' with ' + ' '.join(overrides) if overrides else ''}")
