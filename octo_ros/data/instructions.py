"""Every instruction of a data set, encoded once and looked up by number."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from octo_ros.array_typing import Int

Encode = Callable[[Sequence[str]], Mapping[str, np.ndarray] | np.ndarray]


class InstructionTable:
    """The encoded instructions of a set, with the empty text in row 0.

    Attributes:
        texts: the texts by row.
        counts: number of instructions of each episode; 0 for an episode without one.
    """

    def __init__(self, per_episode: Sequence[Sequence[str]], encode: Encode) -> None:
        """Encodes each different text once.

        Args:
            per_episode: instruction and paraphrases of each episode.
            encode: texts to token ids and mask, or to the embeddings of a frozen language model;
                every array has one row a text.
        """
        kept = [[text for text in texts if text.strip()] for texts in per_episode]
        self.texts = ['', *dict.fromkeys(text for texts in kept for text in texts)]
        row = {text: index for index, text in enumerate(self.texts)}
        self.counts = np.array([len(texts) for texts in kept])
        self._rows = np.zeros((len(kept), max(1, self.counts.max(initial=0))), np.int64)
        for index, texts in enumerate(kept):
            self._rows[index, :len(texts)] = [row[text] for text in texts]
        self._values = encode(self.texts)

    def rows(self, episodes: Int[np.ndarray, 'b'], choices: Int[np.ndarray, 'b']
             ) -> Int[np.ndarray, 'b']:
        """Returns the row of the chosen instruction of each episode; 0 where there is none."""
        return np.where(self.counts[episodes] > 0, self._rows[episodes, choices], 0)

    def encoded(self, rows: Int[np.ndarray, 'b']) -> Any:
        """Returns what `encode` gave for some rows, with one row a text in every array."""
        return jax.tree.map(lambda values: values[rows], self._values)
