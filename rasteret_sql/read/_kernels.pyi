from typing import Any

import numpy as np
from numpy.typing import NDArray

def resample(
    pixels: NDArray[Any],
    mask: NDArray[np.bool_] | None,
    rows: NDArray[np.float64],
    cols: NDArray[np.float64],
    method: str,
    row_scale: float | NDArray[np.float64],
    col_scale: float | NDArray[np.float64],
    row_offset: int,
    col_offset: int,
    out: NDArray[Any],
    valid: NDArray[np.bool_],
    /,
) -> None: ...
