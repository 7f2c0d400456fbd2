"""Images that are moved and mirrored."""

from __future__ import annotations

import numpy as np
import pytest

from adapt.errors import InputError
from adapt.training.augmentation import Augmentation, augmented, check_images

IMAGES = np.arange(1, 1 + 40 * 16 * 8 * 3, dtype=np.int32).reshape(40, 16, 8, 3)


def changed(how: Augmentation, seed: int = 3) -> np.ndarray:
    return augmented(IMAGES, how, np.random.default_rng(seed))


def test_nothing_is_changed_unasked() -> None:
    assert changed(Augmentation.NONE) is IMAGES


def test_half_of_the_images_are_mirrored() -> None:
    mirrored = 0
    for before, after in zip(IMAGES, changed(Augmentation.FLIP), strict=True):
        if not np.array_equal(before, after):
            assert np.array_equal(before[:, ::-1], after)
            mirrored += 1
    assert 10 < mirrored < 30


def test_images_move_by_an_eighth_at_most_and_leave_black_behind() -> None:
    moves = set()
    for before, after in zip(IMAGES, changed(Augmentation.SHIFT), strict=True):
        padded = np.pad(before, ((2, 2), (1, 1), (0, 0)))
        places = [
            (top, left)
            for top in range(5)
            for left in range(3)
            if np.array_equal(padded[top : top + 16, left : left + 8], after)
        ]
        assert len(places) == 1
        moves.add(places[0])
    assert len(moves) > 8


@pytest.mark.parametrize("how", Augmentation)
def test_chance_comes_from_the_seed_alone(how: Augmentation) -> None:
    assert np.array_equal(changed(how), changed(how))
    if how is not Augmentation.NONE:
        assert not np.array_equal(changed(how), changed(how, seed=4))
        assert changed(how).dtype == IMAGES.dtype


def test_what_is_no_image_cannot_be_augmented() -> None:
    check_images(np.zeros((5, 7)), Augmentation.NONE)
    with pytest.raises(InputError, match="--augmentation flip is for images"):
        check_images(np.zeros((5, 7)), Augmentation.FLIP)
