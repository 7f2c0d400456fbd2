"""NetAdapt with several groups at once, on short trial, and measured as a whole.

Each iteration lowers what narrowing can win by an equal factor, the last one to the budget:

1. Probe: narrow single groups, let the filters that stay stand in for those that go, fine-tune for
   a few steps and look where the loss on held-out examples is heading. That tells how sensitive
   the groups are.
2. Propose, twice: combinations of groups that win the most cost for the least expected loss, with
   random doubts about what is expected, and neighbours of the best; tried in the same way, which
   corrects expectations.
3. In the last iteration, verify: measure the best whole on the device, and networks near to those
   that are not just below the budget, while these promise more than what is.
4. Tune: the most promising is the next network, and is fine-tuned further.

Without steps on trial, more networks are looked at untrained, some narrowed in one group only.

`paper.py` is the procedure as published.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapt.cost.base import Cost
from adapt.methods.base import (
    Bench,
    Phase,
    State,
    finish,
    meets,
)
from adapt.methods.iteration import Round
from adapt.methods.memory import Memory, Stage
from adapt.methods.starting import begun_unshrunk
from adapt.training.finetune import Checkpoint
from adapt.training.importance import Rule

__all__ = ["NetAdapt"]


class NetAdapt:
    """The search described above; each of its stages is a step."""

    name = "netadapt"
    defaults: Mapping[str, Any] = {
        "first_step": 0.21,
        "importance": Rule.ACTIVATION,
        "compensate": True,
    }

    def start(self, bench: Bench, limits: Mapping[str, float], original: Cost) -> State:
        """The unshrunk network, once a network is known to meet `limits`."""
        return begun_unshrunk(bench, limits, original)

    def step(self, bench: Bench, state: State, checkpoint: Checkpoint) -> tuple[State, Checkpoint]:
        """One stage of an iteration, or one piece of the long fine-tune."""
        if state.phase is Phase.FINISH:
            return finish(bench, state, checkpoint)
        memory = Memory.model_validate(state.memory)
        # A sum of kernels that is within the limits says nothing yet of the whole network.
        met = (
            not state.memory
            and meets(bench.pricer.price(state.widths), state.limits)
            and meets(bench.pricer.measured(state.widths), state.limits)
        )
        if met or memory.stage is Stage.END:
            done = state.model_copy(update={"phase": Phase.FINISH, "memory": {}})
            return done, Checkpoint(checkpoint.weights)
        now = Round(bench, state, checkpoint, memory)
        match memory.stage:
            case Stage.PROBE:
                return now.probe(), checkpoint
            case Stage.PROPOSE:
                return now.propose(), checkpoint
            case Stage.VERIFY:
                return now.verify(), checkpoint
            case _:
                return now.tune()
