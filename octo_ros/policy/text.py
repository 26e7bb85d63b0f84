"""Instructions to token ids, as T5's tokenizer made them during training.

The vocabulary is a sentencepiece file. Released checkpoints do not carry it; it is looked for in
a path given by the user, in the checkpoint folder (`spiece.model`, also in a folder with the
language model's name), and in the cache of the Hugging Face hub or on the hub itself. It is read
only once a text asks for it: the empty text, which stands for 'no instruction', is the same in
every T5 vocabulary.
"""

import logging
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece

from octo_ros.array_typing import Int
from octo_ros.checkpoint.hub import VOCABULARY_FILE
from octo_ros.checkpoint.hub import find_vocabulary
from octo_ros.errors import CheckpointError
from octo_ros.errors import ParameterError
from octo_ros.errors import TaskError
from octo_ros.errors import closest

_KNOWN_PROCESSOR = 'HFTokenizer'
_DEFAULT_LENGTH = 64  # what Octo's HFTokenizer takes when a config names no length
_PAD = 0
_END = 1
_LONGEST_QUOTE = 60

_log = logging.getLogger('octo_ros.policy.text')


def check_instruction(text: str) -> None:
    """Raises TaskError for what is no text, has no words, or has half a surrogate pair."""
    if not isinstance(text, str):
        raise TaskError(f'an instruction must be a text, got {type(text).__name__} '
                        f'{text!r:.{_LONGEST_QUOTE}}; leave texts out to work with goals alone')
    if not text.strip():
        raise TaskError(
            f'an instruction must hold words, got {text[:_LONGEST_QUOTE]!r}; '
            'clear the task, or leave the text out, to work with goal images alone')
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TaskError(
            f'an instruction must be Unicode text, got half a character at position '
            f'{error.start} of {text[:_LONGEST_QUOTE]!r}; send it as UTF-8') from error


class TextProcessor:
    """Turns texts into padded token ids.

    Attributes:
        tokenizer_name: the name in the checkpoint's config, such as `t5-base`.
        max_length: number of tokens in every encoded text.
    """

    def __init__(
        self, tokenizer_name: str, max_length: int, *, vocabulary: str | Path | None = None,
        search: Sequence[Path] = (), vocabulary_size: int | None = None,
    ) -> None:
        """Prepares the look-up; the vocabulary itself is read by the first text.

        Args:
            tokenizer_name: name whose repository on the hub holds the vocabulary.
            max_length: number of tokens in every encoded text.
            vocabulary: sentencepiece file to use instead of any other.
            search: folders that may hold `spiece.model`.
            vocabulary_size: number of ids that the model's embedding table holds, if known.

        Raises:
            ParameterError: `vocabulary` is not a file.
        """
        if vocabulary and not Path(vocabulary).expanduser().is_file():
            raise ParameterError(
                f"'vocabulary' must be a sentencepiece file, there is none at {vocabulary}")
        self.tokenizer_name = tokenizer_name
        self.max_length = max_length
        self._given = Path(vocabulary).expanduser() if vocabulary else None
        self._search = tuple(
            folder for root in search for folder in (root / tokenizer_name, root))
        self._size = vocabulary_size
        self._file: Path | None = None
        self._pieces: sentencepiece.SentencePieceProcessor | None = None

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], search: Sequence[Path] = (), *,
        vocabulary: str | Path | None = None, vocabulary_size: int | None = None,
    ) -> 'TextProcessor':
        """Builds the processor that a checkpoint's `text_processor` entry names.

        Raises:
            CheckpointError: the entry names another kind of processor or another padding.
        """
        name = _mapping(config, 'text_processor').get('name')
        if name != _KNOWN_PROCESSOR:
            raise CheckpointError(
                f"config.json: text_processor.name must be '{_KNOWN_PROCESSOR}', got {name!r}"
                f"{closest(str(name), [_KNOWN_PROCESSOR])}; other text encoders are not supported")
        arguments = _mapping(config.get('kwargs', {}), 'text_processor.kwargs')
        options = _mapping(
            arguments.get('tokenizer_kwargs', {}), 'text_processor.kwargs.tokenizer_kwargs')
        tokenizer_name = arguments.get('tokenizer_name', 't5-base')
        length = options.get('max_length', _DEFAULT_LENGTH)
        rules = (
            ('encode_with_model', arguments.get('encode_with_model', False), False),
            ('tokenizer_kwargs.padding', options.get('padding', 'max_length'), 'max_length'),
            ('tokenizer_kwargs.truncation', options.get('truncation', True), True))
        for key, value, wanted in rules:
            if value != wanted:
                raise CheckpointError(
                    f'config.json: text_processor.kwargs.{key} must be {wanted!r}, got {value!r}')
        if not isinstance(tokenizer_name, str) or type(length) is not int or length < 1:
            raise CheckpointError(
                'config.json: text_processor.kwargs must have a text as tokenizer_name and a '
                'tokenizer_kwargs.max_length of at least 1, got '
                f'{tokenizer_name!r} and {length!r}')
        return cls(
            tokenizer_name, length, vocabulary=vocabulary, search=search,
            vocabulary_size=vocabulary_size)

    @classmethod
    def of_checkpoint(
        cls, config: Mapping[str, Any], params: Mapping[str, Any], folder: Path, *,
        vocabulary: str | Path | None = None,
    ) -> 'TextProcessor | None':
        """Builds the processor of a checkpoint; None when it has none.

        Args:
            config: its config.
            params: its parameters; the embedding table of the language model tells its ids.
            folder: may hold `spiece.model`.
            vocabulary: sentencepiece file to use instead of any other.

        Raises:
            CheckpointError: see `from_config`.
        """
        entry = config.get('text_processor')
        if entry is None:
            return None
        sizes = [
            subtree['hf_model']['shared']['embedding'].shape[0]
            for subtree in params['octo_transformer'].values()
            if isinstance(subtree, Mapping) and 'hf_model' in subtree]
        return cls.from_config(
            entry, [folder], vocabulary=vocabulary, vocabulary_size=min(sizes, default=None))

    def encode(self, texts: Sequence[str]) -> dict[str, Int[np.ndarray, 'b n']]:
        """Encodes texts as during training: cut to `max_length` with an end token, padded by 0.

        Args:
            texts: instructions; the empty text stands for none.

        Returns:
            `input_ids` and `attention_mask` (1 = a token, 0 = padding).

        Raises:
            TaskError: a text is blank, no vocabulary can be had, or it is not the checkpoint's.
        """
        ids = np.full((len(texts), self.max_length), _PAD, np.int64)
        mask = np.zeros_like(ids)
        found = {text: self._tokens(text) for text in dict.fromkeys(texts)}
        for row, text in enumerate(texts):
            tokens = [*found[text][:self.max_length - 1], _END]
            ids[row, :len(tokens)] = tokens
            mask[row, :len(tokens)] = 1
        return {'input_ids': ids, 'attention_mask': mask}

    def vocabulary_file(self) -> Path:
        """Returns the sentencepiece file in use, looking for it when that was not done yet.

        Raises:
            TaskError: none is found.
        """
        if self._file is None:
            self._file = self._find()
        return self._file

    def vocabulary_at_hand(self) -> Path | None:
        """Returns the sentencepiece file when it is here without asking the hub, else None."""
        places = (self._file, self._given, *(path / VOCABULARY_FILE for path in self._search))
        return next((file for file in places if file is not None and file.is_file()), None)

    def _tokens(self, text: str) -> list[int]:
        if not text:
            return []
        check_instruction(text)
        pieces = self._load()
        tokens: list[int] = pieces.encode(text)
        if len(tokens) >= self.max_length:
            kept = pieces.decode(tokens[:self.max_length - 1])
            _log.warning(
                'the instruction has %d tokens, the policy was trained with %d and sees only: %r',
                len(tokens), self.max_length - 1, kept)
        if self._size is not None and max(tokens, default=0) >= self._size:
            raise TaskError(
                f'{self.vocabulary_file()}: must be the vocabulary that the checkpoint was '
                f'trained with ({self._size} ids), but it gives id {max(tokens)} in '
                f"{text[:_LONGEST_QUOTE]!r}; put the checkpoint's own {VOCABULARY_FILE} beside "
                "config.json, or set 'vocabulary' to it")
        return tokens

    def _load(self) -> sentencepiece.SentencePieceProcessor:
        if self._pieces is None:
            file = self.vocabulary_file()
            try:
                self._pieces = sentencepiece.SentencePieceProcessor(model_file=str(file))
            except (OSError, RuntimeError) as error:
                raise TaskError(
                    f'{file}: must be a sentencepiece vocabulary, but cannot be read; '
                    'copy or download it again') from error
        return self._pieces

    def _find(self) -> Path:
        if self._given is not None:
            return self._given
        files = [folder / VOCABULARY_FILE for folder in self._search]
        for file in files:
            if file.is_file():
                return file
        try:
            return find_vocabulary(self.tokenizer_name)
        except CheckpointError as error:
            looked = ', '.join(str(file) for file in files) or 'no folder'
            raise TaskError(
                f"a text needs the vocabulary of '{self.tokenizer_name}', found none: looked in "
                f"{looked} and on the hub ({error}); put {VOCABULARY_FILE} into the checkpoint "
                "folder, or set 'vocabulary' to the file") from error


def _mapping(value: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise CheckpointError(f'config.json: {path} must be a mapping, got {value!r}')
    return value
