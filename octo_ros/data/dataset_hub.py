"""`hf://datasets/owner/name[@revision]`: data sets from the Hugging Face hub.

huggingface_hub does the work: its cache is used and filled, and with `HF_HUB_OFFLINE=1` nothing
but the cache is asked.
"""

from collections.abc import Sequence
from pathlib import Path

from octo_ros.checkpoint.hub import HubPath
from octo_ros.errors import DataError

PREFIX = 'hf://datasets/'
_AS_PATH = str(Path(PREFIX)) + '/'  # a Path swallows one of the slashes
_WANTED = ('meta/*', 'data/*', '*.json', '*.tfrecord*')


def hub_dataset(source: str | Path) -> HubPath | None:
    """Reads `hf://datasets/owner/name[@revision]`; None for what is no such name.

    Raises:
        DataError: the name begins so, but goes on otherwise.
    """
    text = str(source)
    start = next((item for item in (PREFIX, _AS_PATH) if text.startswith(item)), None)
    if start is None:
        if text.startswith(('hf:/', 'hf://')):
            raise DataError('a data set on the hub must be written hf://datasets/owner/name'
                            f"[@revision], got '{text}'")
        return None
    repo, _, revision = text.removeprefix(start).strip('/').partition('@')
    owner, _, name = repo.partition('/')
    if not owner or not name or '/' in name:
        raise DataError('a data set on the hub must be written hf://datasets/owner/name'
                        f"[@revision], got '{text}'")
    return HubPath(repo, revision or None)


def download(source: HubPath, cameras: Sequence[str]) -> Path:
    """Returns the local folder of a data set, fetching what the cache lacks.

    Args:
        source: repository and revision.
        cameras: (ends of) the features whose videos are wanted; all when empty.

    Raises:
        DataError: repository, revision or network cannot be had.
    """
    from huggingface_hub import snapshot_download

    videos = [f'videos/*{camera}/*' for camera in cameras] or ['videos/*']
    try:
        return Path(snapshot_download(
            source.repo, repo_type='dataset', revision=source.revision,
            allow_patterns=[*_WANTED, *videos]))
    except (OSError, ValueError) as error:
        # Every error of the library derives from one of these two.
        first = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip('.')
        raise DataError(
            f"{PREFIX}{str(source).removeprefix('hf://')}: cannot be had ({first}); check the "
            'name and the network; without a network put the files into the cache on another '
            'machine (`hf download --repo-type dataset`) and set HF_HUB_OFFLINE=1') from error
