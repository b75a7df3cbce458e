"""The scores of the OSIPI-DCE challenge, from a table of the values of its tumours.

References
----------
Shalom et al., Magn Reson Med 2024;91:1803, doi:10.1002/mrm.29909. The data are public; a table of
what a pipeline finds in them, and of the truth of its synthetic patients, is scored here.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

COLUMNS = ("patient", "visit", "Ktrans")
OPTIONAL = ("truth", "repeated")


def score(a: ArrayLike, b: ArrayLike) -> float:
    """Return exp(-mean CV) with CV = |a - b| / (a + b): 1 if all values are equal.

    Parameters
    ----------
    a, b : (N,) array
        Positive values; pairs in which one is missing do not count.

    Returns
    -------
    float
        NaN without a pair.

    Examples
    --------
    >>> round(score([1.0, 2.0], [3.0, 2.0]), 3)
    0.779
    """
    first, second = np.asarray(a, float), np.asarray(b, float)
    known = np.isfinite(first) & np.isfinite(second)
    if not known.any():
        return float("nan")
    first, second = first[known], second[known]
    return float(np.exp(-(np.abs(first - second) / (first + second)).mean()))


def challenge_scores(table: pd.DataFrame) -> pd.DataFrame:
    """Return accuracy, repeatability, reproducibility, and their product.

    Parameters
    ----------
    table : DataFrame
        One row for each patient and visit: ``patient``, ``visit``, ``Ktrans`` (mean over the
        tumour); ``truth`` where it is known, and ``repeated``, the value of a second analysis by
        someone else, where there is one.

    Returns
    -------
    DataFrame of one row
        Accuracy: `score` of the values and the truth. Repeatability: of the two visits of a
        patient without a known truth, or of all patients if the truth of all is known.
        Reproducibility: of both analyses. Gold: their product; missing if one of them is.

    Raises
    ------
    ValueError
        If a column is missing, or a value is not positive.

    Examples
    --------
    >>> rows = pd.DataFrame({"patient": ["a", "a"], "visit": [1, 2], "Ktrans": [0.1, 0.1]})
    >>> challenge_scores(rows.assign(truth=[0.1, 0.3])).iloc[0].round(3).to_dict()
    {'accuracy': 0.779, 'repeatability': 1.0, 'reproducibility': nan, 'gold': nan}
    """
    if missing := [name for name in COLUMNS if name not in table]:
        raise ValueError(f"the table has no column {', '.join(missing)}")
    values = table.reindex(columns=[*COLUMNS, *OPTIONAL])
    numbers = values[["Ktrans", *OPTIONAL]].apply(pd.to_numeric)
    if (numbers <= 0).any(axis=None) or numbers["Ktrans"].isna().any():
        raise ValueError("Ktrans of every row, and truth and repeated where given, must exceed 0")
    values = values.assign(**numbers)
    clinical = values[values["truth"].isna()]
    visits = clinical if len(clinical) else values
    by_visit = visits.pivot(index="patient", columns="visit", values="Ktrans").to_numpy()
    scores = {
        "accuracy": score(values["Ktrans"], values["truth"]),
        "repeatability": score(by_visit[:, 0], by_visit[:, -1])
        if by_visit.shape[1] > 1
        else np.nan,
        "reproducibility": score(values["Ktrans"], values["repeated"]),
    }
    return pd.DataFrame([scores | {"gold": float(np.prod(list(scores.values())))}])


def read_challenge(path: Path) -> pd.DataFrame:
    """Return the table in a TSV file."""
    return pd.read_csv(path, sep="\t", na_values="n/a", dtype={"patient": str, "visit": str})
