"""Whose notes a client of the simulation prunes with, and the texts that masks are judged on.

One file of notes is one hospital. Its last fifth is held out before anything is dealt out, so that no cell
of a grid, however many clients it has and however it splits the notes, sees what another is judged on.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import msgspec

from secprune.errors import ConfigurationError, LocalMisuseError
from secprune.ids import sha256
from secprune.pruning.calibration import pack_windows, text_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from secprune.pruning.calibration import Tokenizer
    from secprune_cli.demo.material import Hospital
    from secprune_cli.experiment.grid import Cell, Split
    from secprune_cli.experiment.plan import LocalSetting

_ALL_WINDOWS = 2**31 - 1


class Material:
    """Notes and texts of all files, tokenised once.

    Args:
        hospitals: one for each file, from `demo.material.read_hospitals`.
        tokenizer: the model's own.
        sequence_length: tokens in a window.
    """

    def __init__(self, hospitals: Sequence[Hospital], tokenizer: Tokenizer, *, sequence_length: int) -> None:
        self._hospitals, self._length = hospitals, sequence_length
        self._whole = tokenizer
        self._tokenizers: dict[str, Tokenizer] = {"1": _Remembering(tokenizer)}
        self._windows: dict[tuple[object, ...], list[Tensor]] = {}

    @property
    def digest(self) -> str:
        """Identifies the notes, in their order, calibration and held-out."""
        return sha256(b"secprune/experiment/data\0" + msgspec.json.encode(self._hospitals))

    def texts(self) -> dict[str, Tensor]:
        """Held-out notes of each file as a stream of tokens, by the file's name, in their order."""
        return {h.name: text_tokens(h.held_out, self._whole) for h in self._hospitals}

    def check(self, cell: Cell) -> None:
        """Refuse a cell that asks for more than there is.

        Raises:
            ConfigurationError: says what there is; or the tokenizer is not BPE.
        """
        if cell.texts > len(self._hospitals):
            raise ConfigurationError(
                f"a cell is to be judged on {cell.texts} texts, and there are {len(self._hospitals)} files of notes",
                hint="set texts to as many or less, or give more files",
            )
        for client in range(cell.clients):
            found = len(self._available(cell, client))
            if found < cell.windows:
                raise ConfigurationError(
                    f"a cell with {cell.clients} clients ({cell.split}, seed {cell.seed}) asks for {cell.windows} "
                    f"windows of {self._length} tokens each, and client {client + 1} has {found}",
                    hint="set windows or clients to less, or shorten --sequence-length",
                )

    def windows(self, setting: LocalSetting, client: int) -> Tensor:
        """One client's calibration windows: (windows, sequence_length) int64.

        Drawn without replacement by the seed and the client's number alone, so that cells with more
        windows or more clients have those of the smaller ones among theirs.
        """
        available = self._available(setting, client)
        return available[_permutation(f"windows {setting.seed} {client}", len(available))[: setting.windows]]

    def _available(self, of: Cell | LocalSetting, client: int) -> Tensor:
        """All whole windows of one client's notes: (available, sequence_length)."""
        seed = of.seed if of.split == "iid" else 0
        key = (of.split, of.clients, of.tokenizer_merges, seed)
        if key not in self._windows:
            tokenizer = self._tokenizer(of.tokenizer_merges)
            self._windows[key] = [
                self._packed(notes, tokenizer) for notes in self._dealt(of.split, of.clients, seed)
            ]
        return self._windows[key][client]

    def _packed(self, notes: list[str], tokenizer: Tokenizer) -> Tensor:
        try:
            return pack_windows(notes, tokenizer, sequence_length=self._length, max_windows=_ALL_WINDOWS)
        except LocalMisuseError:  # not even one window: `check` says so, naming the cell
            import torch

            return torch.empty((0, self._length), dtype=torch.int64)

    def _dealt(self, split: Split, clients: int, seed: int) -> list[list[str]]:
        """Each client's notes: of the first files, in both splits the same notes altogether."""
        files = self._hospitals[:clients]
        if split == "iid":
            pool = [note for file in files for note in file.notes]
            order = _permutation(f"iid {seed}", len(pool)).tolist()
            return [[pool[i] for i in order[client::clients]] for client in range(clients)]
        sharing = [len(range(index, clients, len(files))) for index in range(len(files))]
        # More clients than files: client i has part i // files of file i % files.
        return [
            files[client % len(files)].notes[client // len(files) :: sharing[client % len(files)]]
            for client in range(clients)
        ]

    def _tokenizer(self, merges: str) -> Tokenizer:
        if merges not in self._tokenizers:
            self._tokenizers[merges] = _Remembering(fewer_merges(self._whole, merges))
        return self._tokenizers[merges]


def fewer_merges(tokenizer: Any, share: str) -> Tokenizer:
    """The tokenizer with only the first floor(share * merges) of its merges; the vocabulary stays.

    Every token it gives is one of the model's, but common words fall into more and shorter ones.

    Args:
        tokenizer: a fast tokenizer of transformers.
        share: "1/2" or "0".

    Raises:
        ConfigurationError: the tokenizer is not BPE.
    """
    from transformers import PreTrainedTokenizerFast

    backend = getattr(tokenizer, "backend_tokenizer", None)
    content = {} if backend is None else json.loads(backend.to_str())
    model = content.get("model", {})
    if model.get("type") != "BPE":
        raise ConfigurationError(
            f"tokenizer_merges needs a BPE tokenizer, this one is {model.get('type') or 'none that can be read'}",
            hint="leave the axis tokenizer_merges out of the grid",
        )
    numerator, _, denominator = share.partition("/")
    model["merges"] = model["merges"][: len(model["merges"]) * int(numerator) // int(denominator or 1)]
    model["ignore_merges"] = False  # else words of the vocabulary would be found without any merge
    from tokenizers import Tokenizer as Backend

    return PreTrainedTokenizerFast(  # type: ignore[no-any-return]
        tokenizer_object=Backend.from_str(json.dumps(content)), eos_token=tokenizer.eos_token
    )


class _Remembering:
    """A tokenizer that tokenises each note once."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.eos_token_id = tokenizer.eos_token_id
        self._tokenizer, self._known = tokenizer, dict[str, list[int]]()

    def __call__(
        self, text: list[str], *, add_special_tokens: bool, verbose: bool
    ) -> dict[str, list[list[int]]]:
        unknown = [note for note in dict.fromkeys(text) if note not in self._known]
        if unknown:
            found = self._tokenizer(unknown, add_special_tokens=add_special_tokens, verbose=verbose)[
                "input_ids"
            ]
            self._known |= dict(zip(unknown, found, strict=True))
        return {"input_ids": [self._known[note] for note in text]}


def _permutation(what: str, n: int) -> Tensor:
    """The numbers below n in an order that is drawn for this purpose alone."""
    import torch

    digest = hashlib.sha256(b"secprune/experiment\0" + what.encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    return torch.randperm(n, generator=generator)
