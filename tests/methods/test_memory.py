"""What the search learns of the groups' sensitivity."""

from __future__ import annotations

import pytest

from adapt.methods.memory import Memory


def test_who_was_expected_to_lose_most_is_most_to_blame() -> None:
    memory = Memory(sensitivities={"a": 1.0, "b": 1.0})
    learnt = memory.learnt({"a": 0.6, "b": 0.2}, growth=1.6)  # Twice what was expected.
    assert learnt.sensitivities["a"] == pytest.approx(2**0.75)
    assert learnt.sensitivities["b"] == pytest.approx(2**0.25)
    assert memory.sensitivities == {"a": 1.0, "b": 1.0}


def test_repeated_evidence_is_believed() -> None:
    memory = Memory(sensitivities={"a": 1.0, "b": 1.0})
    for _ in range(30):
        memory = memory.learnt({"a": 0.5}, 0.1).learnt({"a": 0.5, "b": 0.5}, 1.1)
    assert memory.lost("a", 0.5) == pytest.approx(0.1, rel=0.3)
    assert memory.lost("a", 0.5) + memory.lost("b", 0.5) == pytest.approx(1.1, rel=0.1)


def test_one_surprise_is_not_believed_whole() -> None:
    learnt = Memory(sensitivities={"a": 1.0}).learnt({"a": 0.5}, growth=1000.0)
    assert learnt.sensitivities["a"] == pytest.approx(2.0)


def test_an_unknown_group_is_like_the_others() -> None:
    memory = Memory(sensitivities={"a": 1.0, "b": 3.0, "c": 9.0})
    assert memory.lost("d", 0.5) == 1.5
    assert Memory().lost("d", 0.5) == 0.5


def test_nothing_is_learnt_of_nothing() -> None:
    memory = Memory(sensitivities={"a": 1.0})
    assert memory.learnt({}, 0.5) is memory
    assert memory.learnt({"a": 0.0}, 0.5) is memory
