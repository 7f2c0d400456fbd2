"""How each kind of Keras operation treats the channels of its inputs.

A rule takes the call, the ids of its inputs' last axes and the `Identities`, notes which variable
axes carry which ids, and returns the ids of the outputs. `follow` finds the rule; an operation
without one, or one used in a way that its rule does not know, raises `NotFollowed`.
"""

from adapt.network.rules import convolutions, elementwise, normalisation, projections, shapes
from adapt.network.rules.registry import NotFollowed, follow, followed_kinds

__all__ = ["NotFollowed", "follow", "followed_kinds"]

# Importing a module of rules registers them.
_MODULES = (convolutions, elementwise, normalisation, projections, shapes)
