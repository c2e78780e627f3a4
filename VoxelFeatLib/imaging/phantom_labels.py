"""The phantom's structures: label values, names and Slicer's "GenericAnatomyColors"."""

from __future__ import annotations

from enum import IntEnum


class Label(IntEnum):
    """Value of a structure in the phantom's labelmap; 0 is everything else."""

    LIVER = 1
    SPLEEN = 2
    RIGHT_KIDNEY = 3
    LEFT_KIDNEY = 4
    STOMACH = 5
    GALLBLADDER = 6
    PANCREAS = 7
    AORTA = 8
    INFERIOR_VENA_CAVA = 9
    VERTEBRAE = 10
    SPINAL_CANAL = 11
    RIGHT_AUTOCHTHON = 12
    LEFT_AUTOCHTHON = 13
    RIGHT_PSOAS = 14
    LEFT_PSOAS = 15
    COLON = 16
    SMALL_BOWEL = 17
    RIBS = 18
    RIGHT_LUNG = 19
    LEFT_LUNG = 20
    HEART = 21
    ABDOMINAL_WALL_MUSCLE = 22
    SUBCUTANEOUS_FAT = 23
    SKIN = 24
    PATIENT_TABLE = 25

    @property
    def title(self) -> str:
        """The name a user reads, such as "right kidney"."""
        return self.name.lower().replace("_", " ")

    @property
    def color(self) -> tuple[int, int, int]:
        """Red, green, blue, 0 to 255."""
        return _COLORS[self]


_COLORS = {
    Label.LIVER: (221, 130, 101),
    Label.SPLEEN: (157, 108, 162),
    Label.RIGHT_KIDNEY: (185, 102, 83),
    Label.LEFT_KIDNEY: (185, 102, 83),
    Label.STOMACH: (216, 132, 105),
    Label.GALLBLADDER: (139, 150, 98),
    Label.PANCREAS: (249, 180, 111),
    Label.AORTA: (224, 97, 76),
    Label.INFERIOR_VENA_CAVA: (0, 147, 202),
    Label.VERTEBRAE: (212, 188, 102),
    Label.SPINAL_CANAL: (244, 214, 49),
    Label.RIGHT_AUTOCHTHON: (192, 104, 88),
    Label.LEFT_AUTOCHTHON: (192, 104, 88),
    Label.RIGHT_PSOAS: (206, 111, 93),
    Label.LEFT_PSOAS: (206, 111, 93),
    Label.COLON: (204, 168, 143),
    Label.SMALL_BOWEL: (205, 167, 142),
    Label.RIBS: (253, 232, 158),
    Label.RIGHT_LUNG: (197, 165, 145),
    Label.LEFT_LUNG: (197, 165, 145),
    Label.HEART: (206, 110, 84),
    Label.ABDOMINAL_WALL_MUSCLE: (171, 85, 68),
    Label.SUBCUTANEOUS_FAT: (230, 220, 70),
    Label.SKIN: (177, 124, 92),
    Label.PATIENT_TABLE: (220, 245, 20),
}
