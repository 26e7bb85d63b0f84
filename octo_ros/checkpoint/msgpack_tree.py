"""Trees of arrays in the msgpack form of `flax.serialization`, read and written leaf by leaf.

The format: nested maps with string keys; an array is extension type 1, whose payload is again
msgpack, `(shape, dtype name, bytes in C order)`; type 2 is a complex number and type 3 a numpy
scalar; an array above 2**30 bytes is a map of flat pieces. flax itself wants a whole file and a
whole tree in memory at a time; here one leaf is handed on before the next one is read.
"""

import os
from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.serialization
import jax
import jax.numpy as jnp
import msgpack
import numpy as np

from octo_ros.checkpoint.lfs import refuse_pointer
from octo_ros.errors import CheckpointError

Tree = dict[str, Any]
Place = Callable[[np.ndarray], Any]

_NDARRAY = 1
_COMPLEX = 2
_SCALAR = 3
# msgpack derives its limit on the length of maps from its buffer.
_SMALLEST_BUFFER = 4096
_CHUNKED = '__msgpack_chunked_array__'
# What wrong bytes can make msgpack, numpy or the decoding below raise. SyntaxError: numpy reads
# a type name with a comma in it as Python.
_DAMAGE = (ValueError, TypeError, LookupError, AttributeError, OverflowError, MemoryError,
           SyntaxError, msgpack.UnpackException)


def to_device(array: np.ndarray) -> jax.Array:
    """Puts one leaf into device memory and waits, so that its host copy can be let go."""
    return jax.device_put(array).block_until_ready()


def read_tree(path: Path, place: Place = np.asarray) -> Tree:
    """Reads a tree of arrays.

    Args:
        path: the msgpack file.
        place: called with every leaf as soon as it is read, its answer goes into the tree; give
            `to_device` to fill device memory. Beyond what `place` keeps, the host holds up to
            three times the largest leaf: msgpack's buffer, the payload and its bytes, or the
            pieces of a large leaf beside the whole.

    Raises:
        CheckpointError: the file is missing, truncated, damaged or holds no tree.
    """
    decoder = _Decoder(place)
    try:
        size = path.stat().st_size
        refuse_pointer(path)
        with path.open('rb') as stream:
            unpacker = msgpack.Unpacker(
                stream, ext_hook=decoder.leaf, object_hook=decoder.join, raw=False,
                strict_map_key=False, max_buffer_size=max(size, _SMALLEST_BUFFER))
            tree = decoder.place_rest(unpacker.unpack())
            end = unpacker.tell()
    except OSError as error:
        raise CheckpointError(
            f'{path}: cannot be read ({error.strerror}); copy or download the checkpoint again'
        ) from error
    except msgpack.OutOfData as error:
        raise CheckpointError(
            f'{path}: must hold one whole msgpack tree, got {size} bytes that break off after '
            f'{decoder.leaves} whole arrays; the file is truncated, copy or download it again'
        ) from error
    except _DAMAGE as error:
        raise CheckpointError(
            f'{path}: must be a msgpack tree of arrays, but it is damaged after '
            f'{decoder.leaves} whole arrays ({error or type(error).__name__}); '
            'copy or download it again') from error
    if end != size:
        raise CheckpointError(
            f'{path}: must hold one msgpack tree and nothing else, got {size - end} more bytes '
            f'after byte {end}; copy or download it again')
    if not isinstance(tree, dict):
        raise CheckpointError(
            f'{path}: must hold a msgpack map, got {type(tree).__name__}; '
            'this is not a file of a checkpoint')
    return tree


def write_tree(path: Path, tree: Mapping[str, Any]) -> None:
    """Writes a tree of arrays byte for byte as `flax.serialization.msgpack_serialize` does.

    Keys are sorted, as flax sorts them. Device arrays come to the host one at a time.
    """
    with path.open('wb') as stream:
        _write(tree, msgpack.Packer(strict_types=True), stream.write)
        stream.flush()
        os.fsync(stream.fileno())


def _write(node: Any, packer: msgpack.Packer, emit: Callable[[bytes], Any]) -> None:
    if not isinstance(node, Mapping):
        leaf = np.asarray(node) if isinstance(node, jax.Array) else node
        emit(flax.serialization.msgpack_serialize(leaf))
        return
    emit(packer.pack_map_header(len(node)))
    for key, value in sorted(node.items()):
        emit(packer.pack(key))
        _write(value, packer, emit)


class _Decoder:
    """Places every array as it comes, but the pieces of a large one only once they are joined."""

    def __init__(self, place: Place) -> None:
        self.leaves = 0
        self._place = place
        self._in_pieces = False

    def leaf(self, code: int, payload: bytes) -> Any:
        self.leaves += 1
        if code == _COMPLEX:
            return complex(*msgpack.unpackb(payload))
        if code not in (_NDARRAY, _SCALAR):
            raise ValueError(f'unknown extension type {code}')
        shape, name, data = msgpack.unpackb(payload, raw=True)
        # jnp.dtype knows the names that numpy alone does not, such as bfloat16.
        array = np.frombuffer(data, dtype=jnp.dtype(name.decode())).reshape(shape)
        if code == _SCALAR:
            return array[()]
        # The map that tells that this is a piece ends after it. The first piece is always full.
        full = array.nbytes > flax.serialization.MAX_CHUNK_SIZE - array.itemsize
        self._in_pieces |= full and array.ndim == 1
        return array if self._in_pieces else self._place(array)

    def join(self, node: dict[Any, Any]) -> Any:
        foreign = [key for key in node if not isinstance(key, str)]
        if foreign:
            raise ValueError(
                f'keys must be strings, got {type(foreign[0]).__name__} {foreign[0]!r:.80}')
        if _CHUNKED not in node:
            return node
        self._in_pieces = False
        shape = [node['shape'][str(i)] for i in range(len(node['shape']))]
        pieces = [node['chunks'][str(i)] for i in range(len(node['chunks']))]
        return self._place(np.concatenate(pieces).reshape(shape))

    def place_rest(self, tree: Any) -> Any:
        """Places what only looked like a piece: a flat array just as large as one."""
        if not self._in_pieces:
            return tree
        return jax.tree.map(
            lambda leaf: self._place(leaf) if isinstance(leaf, np.ndarray) else leaf, tree)
