"""Where things lie in an exchange, whatever it is kept in.

chunks/ab/<sha256>                       sealed chunks
messages/<task>/<round>/<phase>/<sha256> signed envelopes
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from secprune.exchange.api import Topic

_NAME = re.compile(r"[0-9a-f]{64}\Z")


def chunk_key(digest: str) -> str:
    """Where a chunk lies, below the exchange's root."""
    name = digest.removeprefix("sha256:")
    return f"chunks/{name[:2]}/{name}"


def topic_folder(topic: Topic) -> str:
    """Where messages of a topic lie, below the exchange's root; ends in a slash."""
    return f"messages/{topic.task_id.removeprefix('sha256:')}/{topic.round}/{topic.phase}/"


def is_message_name(name: str) -> bool:
    """Whether a name in a topic's folder can be that of a message; others are passed over."""
    return _NAME.match(name) is not None
