"""Opening a device by its name, where its link fails meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from adapt.fleet import claim
from adapt.fleet.claim import claimed
from adapt.fleet.here import LocalLink
from adapt.fleet.link import Gone


class Lost(LocalLink):
    """A device that goes when it is asked for its properties."""

    closed = False

    def properties(self) -> Mapping[str, str]:
        raise Gone("the cable was pulled", "plug it in")

    def close(self) -> None:
        self.closed = True


def test_no_agent_is_started_before_the_device_says_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, started = Lost(), []
    monkeypatch.setattr(claim, "open_link", lambda name, home: link)
    monkeypatch.setattr(claim, "over_link", lambda *arguments: started.append(arguments))
    with (
        pytest.raises(Gone, match="the cable was pulled"),
        claimed("127.0.0.1:5555", home=tmp_path),
    ):
        pass
    assert not started
    assert link.closed
