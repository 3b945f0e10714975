"""Which image sizes an encoder takes, tried without memory or arithmetic on torch's meta device."""

from dataclasses import dataclass

from detectron2.modeling import Backbone

from ...errors import is_out_of_memory
from ..meta_device import on_meta, without_values

Size = tuple[int, int]
ODD = (270, 485)
MULTIPLES = (32, 64, 128, 224, 256, 384, 448, 512)
LEAST = (1, 32, 64, 128, 224)


@dataclass(frozen=True)
class AcceptedSizes:
    """What an encoder takes.

    Attributes:
        multiple: sides are multiples of it.
        least: smallest side.
        only: (h, w), the single size that it takes.
    """

    multiple: int = 1
    least: int = 1
    only: Size | None = None

    def padded(self, size: Size) -> Size | None:
        """The smallest accepted size that holds ``size`` (h, w); ``None`` if there is none."""
        if self.only is None:
            wanted = (max(side, self.least) for side in size)
            return tuple(-(-side // self.multiple) * self.multiple for side in wanted)
        fits = size[0] <= self.only[0] and size[1] <= self.only[1]
        return self.only if fits else None


def accepted_sizes(backbone: Backbone, native: Size) -> AcceptedSizes:
    """Finds out by trying, in evaluation mode.

    Args:
        backbone: images (N, 3, H, W) -> maps (N, C, h, w) by the names of its ``output_shape``.
        native: (h, w) that it was made for.
    Raises:
        ValueError: with the reason, if not even that works.
    """
    tried = without_values(backbone).eval()

    def fits(*sizes: Size, exact: bool = False) -> bool:
        return all(_problem(tried, size, exact) is None for size in sizes)

    if fits(ODD):
        return AcceptedSizes(least=next((side for side in LEAST if fits((side, side))), ODD[0]))
    for multiple in dict.fromkeys((*MULTIPLES, native[0], 2 * native[0])):
        if fits((multiple, 2 * multiple), (3 * multiple, multiple), exact=True):
            return AcceptedSizes(multiple)
    problem = _problem(tried, native, exact=True)
    if problem is not None:
        raise ValueError(problem)
    return AcceptedSizes(only=native)


def _problem(backbone: Backbone, size: Size, exact: bool) -> str | None:
    """Why an encoder does not take a size; maps may be a cell off unless ``exact``, because some
    encoders round down.
    """
    try:
        maps = on_meta(backbone, (1, 3, *size))
    except Exception as error:  # whatever the code of an encoder says
        if is_out_of_memory(error):
            raise
        return " ".join(str(error).split()) or type(error).__name__
    for name, shape in backbone.output_shape().items():
        found = tuple(maps[name].shape[-2:])
        wanted = tuple(-(-side // shape.stride) for side in size)
        if any(abs(a - b) > (not exact) for a, b in zip(found, wanted, strict=True)):
            return (
                f"its map of stride {shape.stride} is {found[0]}x{found[1]} for an image of "
                f"{size[0]}x{size[1]}, not {wanted[0]}x{wanted[1]}"
            )
    return None
