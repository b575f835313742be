"""Tables as arrays of models × images: what pandas' pivot, groupby and mean give, to the last bit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from auglens.stats.cells import cells_of
from auglens.stats.grid import codes_of, grid_of, mean_of_finite


@pytest.fixture
def table() -> pd.DataFrame:
    """Ragged, in no order, with undefined and infinite values."""
    generator = np.random.default_rng(0)
    rows = [(aug, seed, image) for aug in ("b", "a") for seed in (2, 1) for image in (7, 0, 3)]
    found = pd.DataFrame(rows[:-1], columns=["aug", "seed", "image"]).sample(frac=1, random_state=1)
    found["mad"] = generator.random(len(found))
    found.iloc[2, 3], found.iloc[4, 3] = np.nan, np.inf
    return found.reset_index(drop=True)


def test_models_are_coded_in_order_of_appearance(table: pd.DataFrame) -> None:
    codes, models = codes_of(table, ["aug", "seed"])
    assert models == list(table[["aug", "seed"]].drop_duplicates().itertuples(index=False, name=None))
    assert [models[code] for code in codes] == list(zip(table["aug"], table["seed"], strict=True))


def test_a_column_is_spread_as_a_pivot_does(table: pd.DataFrame) -> None:
    grid = grid_of(table)
    wide = table.pivot(index=["aug", "seed"], columns="image", values="mad").replace(np.inf, np.nan)
    np.testing.assert_array_equal(grid.spread(table["mad"]), wide.loc[grid.models].to_numpy())
    assert grid.images.tolist() == [0, 3, 7]
    assert grid.present().sum() == len(table)
    assert not grid.whole
    assert {aug: [grid.models[row] for row in rows] for aug, rows in grid.members().items()} == {
        aug: [(aug, 1), (aug, 2)] for aug in table["aug"].unique()
    }


def test_a_whole_grid_in_order_is_recognised_and_gives_the_same() -> None:
    rows = [(aug, 1, image) for aug in ("x", "y") for image in range(4)]
    table = pd.DataFrame(rows, columns=["aug", "seed", "image"]).assign(mad=np.arange(8.0))
    assert grid_of(table).whole
    np.testing.assert_array_equal(grid_of(table).spread(table["mad"]), np.arange(8.0).reshape(2, 4))
    turned = table.iloc[[4, 5, 6, 7, 0, 1, 2, 3]]
    np.testing.assert_array_equal(cells_of(turned, ["mad"]).values["mad"][::-1], np.arange(8.0).reshape(2, 4))
    np.testing.assert_array_equal(
        grid_of(table).spread(table["mad"].mask(table["mad"] == 3))[0], [0, 1, 2, np.nan]
    )


def test_no_row_is_an_empty_grid() -> None:
    grid = grid_of(pd.DataFrame({"aug": [], "seed": [], "image": []}))
    assert grid.shape == (0, 0)
    assert grid.spread([]).shape == (0, 0)


def test_an_image_twice_is_refused() -> None:
    table = pd.DataFrame({"aug": "affine", "seed": [2, 2, 3], "image": [7, 7, 7], "mad": 0.5})
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        cells_of(table, ["mad"])
    assert str(error.value) == "table: image 7 occurs twice in cell affine-2; expected one row per image"


def test_the_mean_has_the_bits_of_pandas() -> None:
    generator = np.random.default_rng(1)
    values = generator.normal(size=(7, 500)) * 10.0 ** generator.integers(-6, 6, (7, 500))
    values[generator.random(values.shape) < 0.3] = np.nan
    values[:, 3] = np.nan
    means, counts = mean_of_finite(values)
    rows = pd.DataFrame({"image": np.tile(np.arange(500), 7), "value": values.ravel()}).groupby("image")["value"]
    np.testing.assert_array_equal(means, rows.mean().to_numpy())
    np.testing.assert_array_equal(counts, rows.count().to_numpy())
    assert (np.nansum(values, axis=0) / np.maximum(counts, 1) != means).any()  # a plain mean has not
