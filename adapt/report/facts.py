"""The settings and circumstances of a job, as the report lists them."""

from __future__ import annotations

from adapt.cost.offline import EYERISS
from adapt.job.request import JobRequest
from adapt.job.result import JobResult
from adapt.methods import METHODS
from adapt.methods.base import Settings
from adapt.report.tables import heading
from adapt.report.values import count, duration, known, percent
from adapt.training.augmentation import Augmentation

__all__ = ["job_facts"]


def job_facts(request: JobRequest, result: JobResult) -> list[tuple[str, str]]:
    """What was asked for and found, by what it is called."""
    settings = request.settings.settled(METHODS[request.method].defaults)
    splits = [f"{name} {count(number)}" for name, number in result.examples.items()]
    measured = next(iter(result.network("adapted").measured.values()), None)
    low, high = request.pixel_range
    return [
        ("Model", str(request.model)),
        ("SHA-256 of the model", request.model_sha256),
        *([("SHA-256 of adapted.tflite", measured.sha256)] if measured else []),
        ("Data", request.data),
        ("Examples", ", ".join(splits)),
        ("Pixels", f"{low:g} to {high:g}" + (", scaled to fit" if request.resize else "")),
        ("Method", request.method),
        ("Precision of the .tflite files", request.quantize),
        *_device_facts(request, result),
        ("Seed", str(request.seed)),
        ("Threads of training", str(request.threads)),
        ("Short fine-tune", _short(request.method, settings)),
        ("Long fine-tune", f"{settings.long_steps} steps at up to {settings.long_rate:g}"),
        ("Optimiser", str(settings.optimiser)),
        ("Training images", _augmentation(settings)),
        ("Learnt from the original", _distillation(settings)),
        ("Batch", f"{settings.batch} examples"),
        ("Importance of filters", str(settings.importance)),
        *_tightening(request.method, settings),
        ("Time", duration(sum(s for s in result.seconds.values() if known(s) is not None))),
    ]


def _augmentation(settings: Settings) -> str:
    none = settings.augmentation is Augmentation.NONE
    return "as they are" if none else f"changed by chance ({settings.augmentation})"


def _distillation(settings: Settings) -> str:
    if not settings.distillation:
        return "nothing"
    share = percent(settings.distillation, 0)
    return f"{share} of the loss, at temperature {settings.temperature:g}"


def _short(method: str, settings: Settings) -> str:
    """Steps of proposals; `netadapt` tries all of them, and settles the best of those tuned."""
    tuned = f"{settings.short_steps} steps at {settings.short_rate:g}"
    if method != "netadapt":
        return tuned
    tried = f"{settings.trial_steps} of each on trial, " if settings.trial_steps else ""
    return f"{tried}{tuned}, {settings.settling_steps} more of the best"


def _tightening(method: str, settings: Settings) -> list[tuple[str, str]]:
    """How fast costs fell; nothing of a method that has no iterations."""
    step = settings.first_step
    match method:
        case "netadapt":
            return [("Tightening", f"about {percent(step)} in each iteration")]
        case "netadapt-paper":
            each = f"{percent(step)} of the original, times {settings.decay:g} each"
            return [("Tightening", each)]
    return []


def _device_facts(request: JobRequest, result: JobResult) -> list[tuple[str, str]]:
    """What was measured, and how; and what told the rest."""
    facts = []
    for device in request.devices:
        of = f" of {device.label}" if len(request.devices) > 1 else ""
        if device.name != EYERISS:
            facts.append(("Device", f"{device.name}; {device.runtime}"))
        facts.append((f"Platform{of}", result.platforms[device.label]))
    if any(device.name != EYERISS for device in request.devices):
        facts.append(
            ("Kernels measured", f"{count(result.kernels_measured)} that the table lacked")
        )
    return [*facts, *((heading(name), words) for name, words in result.told_by.items())]
