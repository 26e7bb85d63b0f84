"""`hf://owner/name[@revision]`: checkpoints and vocabularies from the Hugging Face hub.

huggingface_hub does the work: its cache (`HF_HOME`, `HF_HUB_CACHE`) is used and filled, and with
`HF_HUB_OFFLINE=1` nothing but the cache is asked.
"""

import dataclasses
from pathlib import Path

from octo_ros.errors import CheckpointError

PREFIX = 'hf://'
VOCABULARY_FILE = 'spiece.model'

# The names by which Octo configs call T5's tokenizers, which are older than the hub's owners.
_TOKENIZER_REPOS = {
    name: f'google-t5/{name}' for name in ('t5-small', 't5-base', 't5-large', 't5-3b', 't5-11b')}
_FIX_OFFLINE = (
    'check the name and the network; without a network put the files into the cache on another '
    'machine (`hf download`) and set HF_HUB_OFFLINE=1')


@dataclasses.dataclass(frozen=True)
class HubPath:
    """A repository on the hub, and a branch, tag or commit of it (None: its main branch)."""

    repo: str
    revision: str | None = None

    def __str__(self) -> str:
        return f'{PREFIX}{self.repo}' + (f'@{self.revision}' if self.revision else '')


def parse(path: str, revision: str | None = None) -> HubPath:
    """Reads `hf://owner/name[@revision]`.

    Raises:
        CheckpointError: the text has another form, or names two different revisions.
    """
    repo, at, written = path.removeprefix(PREFIX).strip('/').partition('@')
    owner, _, name = repo.partition('/')
    if not path.startswith(PREFIX) or not owner or not name or '/' in name or (
            at and not written):
        raise CheckpointError(
            f"a checkpoint on the hub must be written hf://owner/name[@revision], got '{path}'")
    if written and revision and written != revision:
        raise CheckpointError(
            f"'{path}' and revision='{revision}' must name one revision; give it once")
    return HubPath(repo, revision or written or None)


def download(source: HubPath, step: int | None = None) -> Path:
    """Returns the local folder of a checkpoint, fetching what the cache lacks.

    Args:
        source: repository and revision.
        step: fetch the parameters of this step only; None fetches all.

    Raises:
        CheckpointError: repository, revision or network cannot be had.
    """
    from huggingface_hub import snapshot_download
    wanted = None if step is None else [
        '*.json', '*.msgpack', f'*{VOCABULARY_FILE}', f'{step}/*', f'0*{step}/*']
    try:
        return Path(snapshot_download(
            source.repo, revision=source.revision, allow_patterns=wanted))
    except (OSError, ValueError) as error:
        # Every error of the library derives from one of these two.
        raise CheckpointError(
            f'{source}: cannot be had ({_first_line(error)}); {_FIX_OFFLINE}') from error


def vocabulary_repo(tokenizer_name: str) -> str | None:
    """Returns the repository with a tokenizer's vocabulary; None for a bare, unknown name."""
    return _TOKENIZER_REPOS.get(
        tokenizer_name, tokenizer_name if tokenizer_name.count('/') == 1 else None)


def find_vocabulary(tokenizer_name: str) -> Path:
    """Returns the sentencepiece file of a tokenizer from the cache, or else from the hub.

    Raises:
        CheckpointError: the name is not known, or the file cannot be had.
    """
    repo = vocabulary_repo(tokenizer_name)
    if repo is None:
        raise CheckpointError(
            f"no repository is known for the tokenizer '{tokenizer_name}'; "
            f"known are {', '.join(_TOKENIZER_REPOS)} and owner/name")
    from huggingface_hub import snapshot_download
    from huggingface_hub import try_to_load_from_cache
    # A cache that was filled before the owners came lies under the bare name.
    for name in dict.fromkeys((repo, tokenizer_name)):
        cached = try_to_load_from_cache(name, VOCABULARY_FILE)
        if isinstance(cached, str):
            return Path(cached)
    try:
        # Not hf_hub_download: without a network that one goes on trying for half a minute.
        file = Path(snapshot_download(repo, allow_patterns=[VOCABULARY_FILE])) / VOCABULARY_FILE
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f'{PREFIX}{repo}: {VOCABULARY_FILE} cannot be had ({_first_line(error)}); '
            f'{_FIX_OFFLINE}') from error
    if not file.is_file():
        raise CheckpointError(
            f'{PREFIX}{repo}: must hold {VOCABULARY_FILE}, but has no such file')
    return file


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip('.') if lines else type(error).__name__
