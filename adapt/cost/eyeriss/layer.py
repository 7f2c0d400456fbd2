"""Convolutional and dense layers as the accelerator sees them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

from adapt.errors import InputError

__all__ = ["DATA", "Layer", "Operand"]

# The data types of a layer, in the order of every table. Partial sums count as ofmap.
DATA = ("ifmap", "ofmap", "weight")

# No layer of any network comes near it; keeps products of sizes inside 64 bits.
MAX_SIZE = 1 << 20
MAX_BITS = 64


@dataclass(frozen=True)
class Operand:
    """One data type of a layer: bits of a value, and the share of values that are not zero."""

    bits: float = 16
    density: float = 1.0


@dataclass(frozen=True)
class Layer:
    """A convolution; a dense layer is one whose kernel covers its input.

    Attributes:
        name: for people; says nothing.
        channels, filters: of all groups together.
        height, width: of the input, its padding included.
        kernel_height, kernel_width: of a filter.
        stride_y, stride_x: between outputs.
        out_height, out_width: of the output.
        groups: parts of the channels that are convolved apart.
        dilation_y, dilation_x: between the weights of a filter.
        ifmap, ofmap, weight: their bits and densities.
    """

    name: str = field(compare=False)
    channels: int
    filters: int
    height: int
    width: int
    kernel_height: int
    kernel_width: int
    stride_y: int
    stride_x: int
    out_height: int
    out_width: int
    groups: int = 1
    dilation_y: int = 1
    dilation_x: int = 1
    ifmap: Operand = Operand()
    ofmap: Operand = Operand()
    weight: Operand = Operand()

    def __post_init__(self) -> None:
        """InputError, naming the field and its range, for what is no layer."""
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, Operand):
                _check_operand(self.name, each.name, value)
            elif each.name != "name" and not 1 <= value <= MAX_SIZE:
                raise _wrong(self.name, each.name, value, f"1 to {MAX_SIZE}")
        for axis, kernel, size in (
            ("high", self.extent_y, self.height),
            ("wide", self.extent_x, self.width),
        ):
            if kernel > size:
                raise InputError(
                    f"layer {self.name}: a kernel {kernel} {axis} on a padded input {size} {axis}",
                    "A kernel is at most as large as its padded input.",
                )
        if self.channels % self.groups or self.filters % self.groups:
            sizes = f"{self.channels} channels and {self.filters} filters"
            raise _wrong(self.name, "groups", self.groups, f"a divisor of {sizes}")

    @property
    def extent_y(self) -> int:
        """Rows that one output sees."""
        return (self.kernel_height - 1) * self.dilation_y + 1

    @property
    def extent_x(self) -> int:
        """Columns that one output sees."""
        return (self.kernel_width - 1) * self.dilation_x + 1

    @property
    def weights(self) -> int:
        """Number of weights, zeros included."""
        return self.filters * self.weights_of_filter

    @property
    def weights_of_filter(self) -> int:
        """Weights of one filter."""
        return self.channels // self.groups * self.kernel_height * self.kernel_width

    @property
    def inputs(self) -> int:
        """Values of one ifmap, padding included."""
        return self.channels * self.height * self.width

    @property
    def outputs(self) -> int:
        """Values of one ofmap."""
        return self.filters * self.out_height * self.out_width

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image, zeros included."""
        return self.outputs * self.weights_of_filter

    def one_group(self) -> Layer:
        """One of the equal groups as a layer of its own."""
        return replace(
            self,
            channels=self.channels // self.groups,
            filters=self.filters // self.groups,
            groups=1,
        )

    def dense(self) -> Layer:
        """The same layer without zeros."""
        parts = {name: replace(getattr(self, name), density=1.0) for name in DATA}
        return replace(self, **parts)


def _check_operand(layer: str, name: str, operand: Operand) -> None:
    if not 0 <= operand.density <= 1:
        raise _wrong(layer, f"density of the {name}", operand.density, "0 to 1")
    if not 1 <= operand.bits <= MAX_BITS:
        raise _wrong(layer, f"bits of the {name}", operand.bits, f"1 to {MAX_BITS}")


def _wrong(layer: str, what: str, value: object, valid: str) -> InputError:
    return InputError(f"layer {layer}: {what} is {value}", f"Valid: {valid}.")
