"""What is kept of one method on one target."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.evaluation.metrics import Scores, around, score
from VoxelFeatLib.evaluation.running import Target
from VoxelFeatLib.imaging.aliases import Mask


@dataclass(frozen=True)
class RefinementResult:
    """What one method got on one target, within the reference's box grown by 5 voxels.

    Attributes:
        case, label, method: Names.
        dice, hd95_mm, reference_to_prediction_mm, prediction_to_reference_mm: As in `Scores`;
            distances are the box's diagonal where nothing was predicted.
        seconds: Of the method, without fits.
    """

    case: str
    label: str
    method: str
    dice: float
    hd95_mm: float
    reference_to_prediction_mm: float
    prediction_to_reference_mm: float
    seconds: float

    def __post_init__(self) -> None:
        numbers = [*asdict(self.scores).values(), self.seconds]
        sound = all(math.isfinite(number) and number >= 0 for number in numbers)
        if not sound or self.dice > 1:
            raise InputError(f"The result of {self.method} on {self.label} has no sound numbers.")

    @property
    def scores(self) -> Scores:
        """The metrics alone."""
        return Scores(
            self.dice,
            self.hd95_mm,
            self.reference_to_prediction_mm,
            self.prediction_to_reference_mm,
        )

    @classmethod
    def of(cls, prediction: Mask, target: Target, method: str, seconds: float) -> RefinementResult:
        """Score a (K, J, I) prediction.

        Raises:
            InputError: It has another shape than the target.
        """
        if prediction.shape != target.mask.shape:
            raise InputError(f"The method {method} gave a mask of shape {prediction.shape}.")
        box, spacing = around(target.mask), target.volume.geometry.spacing
        reference = target.mask[box]
        found = score(prediction[box], reference, spacing.tolist())
        diagonal = math.hypot(*(np.array(reference.shape[::-1]) * spacing))
        dice, *distances = asdict(found).values()
        hd95, there, back = (min(distance, diagonal) for distance in distances)
        return cls(target.case, target.label, method, dice, hd95, there, back, seconds)
