"""Layer sampling: which client prunes which decoder blocks, as every party derives it from the task alone.

Source: FedSpaLLM (arXiv 2410.14852), layer sampling. The paper samples by resources and says nothing of coverage; under a
secure sum every block needs a cohort, so here each one is assigned to as many clients as the capacities allow, evenly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from secprune.errors import ConfigurationError
from secprune.ids import sha256

if TYPE_CHECKING:
    from collections.abc import Mapping


def sample_blocks(
    capacities: Mapping[str, int], blocks: int, *, nonce: str, min_clients: int
) -> dict[str, tuple[int, ...]]:
    """Assign decoder blocks to clients: each client as many as it can prune, each block to about equally many.

    Clients are taken in an order drawn from the nonce, and each gets the blocks that fewest have so far, in an order
    drawn anew. Before and after each client, no block has more than one client more than another: a client that fills up
    the blocks that lack one, and goes on with others, leaves it so. So in the end a block has floor(S / blocks)
    clients or one more, S being the sum of capacities (none above the number of blocks): no assignment at all gives
    the least covered block more. Every client has every block with the same probability, over nonces: its capacity
    divided by the number of blocks.

    Args:
        capacities: decoder blocks that each client can prune.
        blocks: decoder blocks of the model.
        nonce: the task's. Whoever draws it can draw until the assignment pleases (docs/attacks.md).
        min_clients: that every block needs.

    Returns:
        Positions of each client's blocks among all, ascending.

    Raises:
        ConfigurationError: no assignment gives every block so many clients.
    """
    able = {client: min(capacity, blocks) for client, capacity in capacities.items()}
    if sum(able.values()) < min_clients * blocks:
        raise ConfigurationError(
            f"the clients can prune {sum(able.values())} decoder blocks together; each of {blocks} needs "
            f"{min_clients} clients, which makes {min_clients * blocks}",
            hint="raise capacities, enrol more clients, or leave capacities out, so that every client prunes every block",
        )
    covered = [0] * blocks
    assigned: dict[str, tuple[int, ...]] = {}
    for client in sorted(able, key=lambda name: _draw(nonce, name)):
        order = sorted(range(blocks), key=lambda block: (covered[block], _draw(nonce, client, str(block))))
        assigned[client] = tuple(sorted(order[: able[client]]))
        for block in assigned[client]:
            covered[block] += 1
    return assigned


def _draw(*what: str) -> str:
    """A number drawn from public words, for an order that anybody can repeat."""
    return sha256(b"secprune/layer-sampling/v1\0" + "\0".join(what).encode())
