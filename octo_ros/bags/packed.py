"""Unpacks what recorders pack with zstd: messages, and whole storage files."""

import contextlib
import sys
import tempfile
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd  # rosbags brings it

PACKED = '.zstd'
_BLOCK = 1 << 20
_MAGIC = b'\x28\xb5\x2f\xfd'  # no CDR header begins like this


def unpacked(data: bytes) -> bytes:
    """Returns a message as CDR, whether it was packed or not.

    Only metadata.yaml says whether messages are packed, and it is what a recorder writes last.
    """
    return zstd.decompress(data) if data[:4] == _MAGIC else data


@contextlib.contextmanager
def unpacked_file(path: Path, note: Callable[[str], None]) -> Iterator[Path]:
    """Gives the path of a storage file that was unpacked, for as long as the context lasts.

    Args:
        path: as it lies in the recording, such as name.db3.zstd.
        note: is told where the file ends before its time, or what is wrong with it.
    """
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / path.stem
        with path.open('rb') as source, whole.open('wb') as target:
            try:
                with zstd.open(source) as content:
                    # Not `read`, which would drop what it has when it meets the end.
                    while block := content.read1(_BLOCK):
                        target.write(block)
            except (EOFError, zstd.ZstdError) as error:
                note(f'{path.name}: cannot be unpacked to its end ({error}); what lies before it '
                     'is kept')
        yield whole
