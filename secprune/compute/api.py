"""Work that is split into items, and what does it.

An item's result is a pure function of the item and of what the function was made with. So it does not matter
where an item is worked on, how often, or in which order; a worker that is lost loses nothing but time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Work(Generic[T, R]):
    """A function to apply to items, and how another process makes the same one.

    Attributes:
        make: of a module; `make(*arguments)` gives the function, once in each process.
        arguments: small, picklable; they may be secret and are never shown.
        here: the function, made of what this process holds; None to make it here as well.
    """

    make: Callable[..., Callable[[T], R]]
    arguments: tuple[Any, ...] = field(repr=False)
    here: Callable[[T], R] | None = field(default=None, repr=False)

    def in_this_process(self) -> Callable[[T], R]:
        """The function for this process."""
        return self.here or self.make(*self.arguments)


class Workers(Protocol):
    """What applies work to items."""

    def map(self, work: Work[T, R], items: Iterable[T], *, count: int) -> Iterator[R]:
        """Results of all items, in order; only a few items and results are held at a time.

        Args:
            work: what to do.
            items: picklable, taken a few ahead of the results.
            count: how many items there are.

        Raises:
            LocalEnvironmentError: the workers cannot be used, or one was killed too often.
        """
