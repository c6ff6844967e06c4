"""A CatBoost model that takes raw strings and numbers, as its owner would serve it without Hemline."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import catboost
import numpy as np


class Forest:
    """The model in a `.cbm` file."""

    def __init__(self, file: Path) -> None:
        """Reads it."""
        self.model = catboost.CatBoostClassifier(allow_writing_files=False).load_model(str(file))
        self.features: list[str] = self.model.feature_names_
        self.categories = {self.features[index] for index in self.model.get_cat_feature_indices()}

    def datatype(self, feature: str) -> str:
        """What V2 calls the feature's values."""
        return "BYTES" if feature in self.categories else "FP32"

    def probabilities(self, columns: Mapping[str, Sequence]) -> np.ndarray:
        """Of not being bought and of being bought, by named columns of one length: float64 [rows, 2]."""
        values = [
            [text(value) for value in columns[name]]
            if name in self.categories
            else [float(value) for value in columns[name]]
            for name in self.features
        ]
        return self.model.predict_proba([list(row) for row in zip(*values, strict=True)])


def text(value: str | bytes) -> str:
    """A BYTES element, which comes as text or as bytes."""
    return value.decode() if isinstance(value, bytes) else value
