"""The folder of a job: made, claimed, checked, discarded, and read again by another version."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from adapt.errors import InputError
from adapt.job import JobFolder, JobRequest, JobResult, Measured, NetworkResult
from adapt.job.account import Account, Ledger
from adapt.job.folder import Conditions
from adapt.job.journal import Step
from adapt.tflite.ops import make_kernel
from lookup_tables.kernel import Tensor

HERE = Conditions(data_sha256="cd" * 32, platforms={"local": "this machine"})


@pytest.fixture
def folder(tmp_path: Path, request_made: JobRequest) -> JobFolder:
    return JobFolder.create(tmp_path / "job", request_made)


def result(loss: float) -> JobResult:
    network = NetworkResult(
        name="adapted",
        widths={"conv": 3},
        cost={"latency": {"measured": 1.5}},
        measured={
            "latency": Measured(sha256="ef" * 32, latency_us=1.4, relative_error=0.01, runs=3)
        },
        holdout_accuracy=0.5,
        test_accuracy=0.25,
        test_loss=loss,
        steps_trained=9,
    )
    return JobResult(
        platforms={"local": "this machine"},
        limits={"latency": 2.0},
        networks=[network],
        history=[],
        kept_whole=[],
        kernels_measured=4,
        examples={"train": 1},
        seconds={"search": 0.5},
    )


def test_round_trip(folder: JobFolder, request_made: JobRequest) -> None:
    folder.check(HERE)
    assert folder.request == request_made
    assert folder.result is None
    folder.finish(result(0.5))
    again = JobFolder.open(folder.path)
    assert again.request == request_made
    assert again.result == result(0.5)
    assert again.prepared


def test_a_loss_that_is_not_a_number_reads_back(folder: JobFolder) -> None:
    folder.finish(result(float("nan")))
    read = JobFolder.open(folder.path).result
    assert read is not None
    assert read.network("adapted").test_loss != read.network("adapted").test_loss
    with pytest.raises(KeyError, match="uniform"):
        read.network("uniform")


def test_names_are_claimed_one_by_one(tmp_path: Path, request_made: JobRequest) -> None:
    (tmp_path / "net-2").mkdir()
    made = [JobFolder.create_numbered(tmp_path, "net", request_made).path.name for _ in range(3)]
    assert made == ["net-1", "net-3", "net-4"]


def test_an_empty_folder_will_do(tmp_path: Path, request_made: JobRequest) -> None:
    assert JobFolder.create(tmp_path, request_made).request == request_made
    with pytest.raises(InputError, match="not empty"):
        JobFolder.create(tmp_path, request_made)


def test_where_no_folder_can_be(tmp_path: Path, request_made: JobRequest) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="not empty"):
        JobFolder.create(tmp_path / "file", request_made)
    with pytest.raises(InputError, match="no job folder can be made"):
        JobFolder.create(tmp_path / "file" / "job", request_made)
    with pytest.raises(InputError, match="no job folder can be made"):
        JobFolder.create_numbered(tmp_path / "file", "net", request_made)


def test_conditions_hold_from_the_first_sitting_on(folder: JobFolder) -> None:
    assert not folder.prepared
    folder.check(HERE)
    folder.check(HERE)
    with pytest.raises(InputError, match="the data /data has changed"):
        folder.check(HERE.model_copy(update={"data_sha256": "00" * 32}))
    with pytest.raises(InputError, match="was this machine, it is a toaster"):
        folder.check(HERE.model_copy(update={"platforms": {"local": "a toaster"}}))


def test_each_of_several_devices_stays_what_it_was(folder: JobFolder) -> None:
    two = HERE.model_copy(update={"platforms": {"a": "a phone", "b": "a board"}})
    folder.check(two)
    folder.check(two)
    swapped = two.model_copy(update={"platforms": {"a": "a phone", "b": "a toaster"}})
    with pytest.raises(InputError, match=r"the device b has changed .* was a board, it is a toast"):
        folder.check(swapped)


def test_prices_of_each_device_are_apart(folder: JobFolder) -> None:
    kernel = make_kernel("RELU", [Tensor("float32", (1, 1))], [Tensor("float32", (1, 1))])
    folder.prices().keep({("hot", kernel): (1.0, 0.1)})
    folder.prices(2).keep({("hot", kernel): (2.0, 0.1)})
    assert folder.prices(1).get("hot", kernel) == (1.0, 0.1)
    assert folder.prices(2).get("hot", kernel) == (2.0, 0.1)
    folder.discard()
    assert not folder.path.exists()


def test_what_was_spent_is_that_of_the_journal_written_last() -> None:
    ledger = Ledger()
    ledger.resume(Account(seconds={"search": 9.0}, kernels_measured=5))
    ledger.resume(Account(seconds={"search": 4.0}, kernels_measured=2))
    assert ledger.account.seconds == {"search": 9.0}
    assert ledger.account.kernels_measured == 5
    ledger.resume(Account(seconds={"search": 9.0, "trial-03 finish": 1.0}, kernels_measured=6))
    assert ledger.account.kernels_measured == 6


def test_discarding(folder: JobFolder) -> None:
    (folder.path / "lock").touch()
    assert folder.exists
    folder.discard()
    assert not folder.path.exists()
    assert not folder.exists


def test_discarding_keeps_what_is_not_ours(folder: JobFolder) -> None:
    (folder.path / "thesis.tex").touch()
    folder.discard()
    assert [path.name for path in folder.path.iterdir()] == ["thesis.tex"]


def test_begun(folder: JobFolder, make_step: Callable[[int], Step]) -> None:
    assert not folder.begun
    folder.journal("uniform").append(make_step(0))
    assert not folder.begun
    folder.journal().append(make_step(0))
    assert folder.begun


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 3}, "another version of adapt"),
        ({"mood": "good"}, "mood: extra inputs are not permitted"),
        ({"request": {"budget": []}}, "request.model: field required"),
        ({"result": 5}, "result"),
    ],
)
def test_a_job_file_of_another_kind(
    folder: JobFolder, change: dict[str, object], message: str
) -> None:
    file = folder.path / "job.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(InputError, match=message) as caught:
        JobFolder.open(folder.path)
    assert "\n" not in caught.value.what
    assert caught.value.todo


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
def test_a_damaged_job_file(folder: JobFolder, content: bytes) -> None:
    (folder.path / "job.json").write_bytes(content)
    with pytest.raises(InputError, match="is not a job file"):
        JobFolder.open(folder.path)


def test_no_job_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "absent", tmp_path / "file"):
        with pytest.raises(InputError, match="there is no job in"):
            JobFolder.open(path)


def test_unknown_and_senseless_requests(request_made: JobRequest) -> None:
    values = request_made.model_dump()
    for change in (
        {"colour": "red"},
        {"holdout": 1.0},
        {"pixel_range": (1.0, 1.0)},
        {"pixel_range": (0.0, float("inf"))},
        {"core_mask": 1 << 64},
        {"threads": 0},
        {"settings": {"speed": 3}},
    ):
        with pytest.raises(ValidationError):
            JobRequest.model_validate({**values, **change})


def test_a_ledger_adds_sittings_up_and_counts_no_second_twice() -> None:
    ledger = Ledger()
    with ledger.timed("search"), ledger.timed("measuring"):
        pass
    ledger.measured(3)
    ledger.resume(Account(seconds={"search": 10.0, "reading": 1.0}, kernels_measured=4))
    account = ledger.account
    assert set(account.seconds) == {"search", "reading", "measuring"}
    assert 10.0 <= account.seconds["search"] < 11.0
    assert account.seconds["reading"] == 1.0
    assert account.kernels_measured == 7
    ledger.resume(Account(seconds={"search": 20.0}, kernels_measured=5))
    assert ledger.account.kernels_measured == 8
