"""Ways to meet a budget, by the names that users give."""

from collections.abc import Mapping

from adapt.methods.base import Method
from adapt.methods.netadapt import NetAdapt
from adapt.methods.paper import NetAdaptPaper
from adapt.methods.uniform import Uniform

__all__ = ["METHODS"]

METHODS: Mapping[str, Method] = {
    method.name: method for method in (NetAdapt(), NetAdaptPaper(), Uniform())
}
