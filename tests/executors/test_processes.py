"""Workers as processes: what happens while one is being started."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from adapt.executors.processes import undisturbed


def test_ctrl_c_waits_until_the_body_is_done() -> None:
    done: list[bool] = []

    def body() -> None:
        with undisturbed():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)  # A second one is no more than the first.
            done.append(True)

    with pytest.raises(KeyboardInterrupt):
        body()
    assert done


def test_sigterm_waits_for_its_own_handler() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    try:
        with undisturbed():
            os.kill(os.getpid(), signal.SIGTERM)
            assert not came
        assert came == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # As of a job in the background.
    try:
        with undisturbed():
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_changes_nothing() -> None:
    found: list[object] = []

    def body() -> None:
        with undisturbed():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGINT)]
