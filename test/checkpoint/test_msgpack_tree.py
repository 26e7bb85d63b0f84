"""Tests of reading and writing trees of arrays one leaf at a time."""

import random
import subprocess
import sys

import flax.serialization
import jax
import jax.numpy as jnp
import msgpack
import numpy as np
import pytest

from octo_ros.checkpoint.msgpack_tree import read_tree
from octo_ros.checkpoint.msgpack_tree import to_device
from octo_ros.checkpoint.msgpack_tree import write_tree
from octo_ros.errors import CheckpointError

TREE = {
    'b': {'kernel': np.arange(24, dtype=np.float32).reshape(2, 3, 4), 'empty': {}},
    'a': {
        'ids': np.array([[1, -2]], np.int64), 'mask': np.array([True, False]),
        'half': np.asarray(jnp.array([1.5, -0.25], jnp.bfloat16)),
        'scalar': np.float32(0.5), 'none': np.zeros((0, 3), np.uint8)},
}


def test_a_tree_comes_back_with_its_shapes_and_types(tmp_path):
    write_tree(tmp_path / 'tree', TREE)
    tree = read_tree(tmp_path / 'tree')
    assert {*tree} == {'a', 'b'}
    assert {*tree['a']} == {*TREE['a']}
    assert tree['b']['empty'] == {}
    for name, array in TREE['a'].items():
        assert tree['a'][name].dtype == array.dtype
        np.testing.assert_array_equal(tree['a'][name], array)
    np.testing.assert_array_equal(tree['b']['kernel'], TREE['b']['kernel'])


def test_the_bytes_are_those_of_flax(tmp_path):
    write_tree(tmp_path / 'tree', TREE)
    assert (tmp_path / 'tree').read_bytes() == flax.serialization.msgpack_serialize(TREE)


def test_large_arrays_are_split_and_joined_as_flax_does(tmp_path, monkeypatch):
    monkeypatch.setattr(flax.serialization, 'MAX_CHUNK_SIZE', 40)
    write_tree(tmp_path / 'tree', TREE)
    assert (tmp_path / 'tree').read_bytes() == flax.serialization.msgpack_serialize(TREE)
    tree = read_tree(tmp_path / 'tree', to_device)
    assert isinstance(tree['b']['kernel'], jax.Array)
    np.testing.assert_array_equal(tree['b']['kernel'], TREE['b']['kernel'])


def test_a_leaf_in_pieces_is_placed_once_and_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(flax.serialization, 'MAX_CHUNK_SIZE', 40)
    write_tree(tmp_path / 'tree', TREE)
    placed = []

    def place(array):
        placed.append(array.shape)
        return array

    read_tree(tmp_path / 'tree', place)
    assert sorted(placed) == [(0, 3), (1, 2), (2,), (2,), (2, 3, 4)]


def test_a_flat_leaf_as_large_as_a_piece_is_placed(tmp_path, monkeypatch):
    monkeypatch.setattr(flax.serialization, 'MAX_CHUNK_SIZE', 40)
    tree = {'a': np.ones(10, np.float32), 'b': {'c': np.ones(3, np.float32)}}
    write_tree(tmp_path / 'tree', tree)
    read = read_tree(tmp_path / 'tree', to_device)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(read))
    jax.tree.map(np.testing.assert_array_equal, read, tree)


def test_golden_parameter_files_come_back_byte_for_byte(golden, tmp_path):
    files = sorted(golden.glob('tiny_*/ckpt/300000/default/checkpoint'))
    files += sorted(golden.glob('tiny_*/ckpt/example_batch.msgpack'))
    assert len(files) == 24
    for file in files:
        write_tree(tmp_path / 'tree', read_tree(file))
        assert (tmp_path / 'tree').read_bytes() == file.read_bytes(), file


@pytest.mark.parametrize('length', [0, 1, 10, 100, -1])
def test_a_truncated_file_is_named_with_what_could_be_read(tmp_path, length):
    write_tree(tmp_path / 'tree', TREE)
    whole = (tmp_path / 'tree').read_bytes()
    (tmp_path / 'tree').write_bytes(whole[:length])
    with pytest.raises(CheckpointError, match=r'/tree: .* whole arrays; the file is truncated'):
        read_tree(tmp_path / 'tree')


def test_a_file_with_more_after_its_end_is_refused(tmp_path):
    (tmp_path / 'tree').write_bytes(flax.serialization.msgpack_serialize(TREE) + b'more')
    with pytest.raises(CheckpointError, match='got 4 more bytes after byte'):
        read_tree(tmp_path / 'tree')


def test_a_file_that_is_no_map_is_refused(tmp_path):
    (tmp_path / 'tree').write_bytes(b'\x07')
    with pytest.raises(CheckpointError, match='must hold a msgpack map, got int'):
        read_tree(tmp_path / 'tree')


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r'/absent: cannot be read \(No such file'):
        read_tree(tmp_path / 'absent')


def test_any_wrong_byte_gives_a_tree_or_an_error_for_people(tmp_path):
    whole = flax.serialization.msgpack_serialize(TREE)
    draw = random.Random(0)
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= draw.randrange(1, 256)
        (tmp_path / 'tree').write_bytes(damaged)
        try:
            read_tree(tmp_path / 'tree')
        except CheckpointError as error:
            assert str(tmp_path / 'tree') in str(error)


def test_a_damaged_type_name_is_no_syntax_error(tmp_path):
    whole = flax.serialization.msgpack_serialize(TREE)
    (tmp_path / 'tree').write_bytes(whole.replace(b'bool', b',ool'))
    with pytest.raises(CheckpointError, match=r'/tree: .* damaged after \d whole arrays'):
        read_tree(tmp_path / 'tree')


@pytest.mark.parametrize(('key', 'words'), [
    (1, 'int 1'), (0.5, 'float 0.5'), (b'bias', "bytes b'bias'"), (None, 'NoneType None')])
def test_a_key_that_is_no_string_is_refused_with_the_file(tmp_path, key, words):
    (tmp_path / 'tree').write_bytes(msgpack.packb({'stem': {'scale': 1, key: 2}}))
    with pytest.raises(CheckpointError, match=f'/tree: .*keys must be strings, got {words}'):
        read_tree(tmp_path / 'tree')


_MEASURE = """
import resource, sys
from pathlib import Path
import jax, numpy as np
from octo_ros.checkpoint.msgpack_tree import read_tree, to_device, write_tree

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

leaf = np.zeros((2_000_000,), np.float32)
leaf[:] = 1.0
total = 30 * leaf.nbytes
file = Path(sys.argv[1])
write_tree(file, {str(i): leaf for i in range(30)})
to_device(leaf)
before = peak()
tree = read_tree(file, to_device)
assert all(float(array[-1]) == 1.0 for array in tree.values())
print((peak() - before) / total)
"""


def test_reading_holds_one_copy_and_a_few_leaves_at_most(tmp_path):
    answer = subprocess.run(
        [sys.executable, '-c', _MEASURE, str(tmp_path / 'tree')],
        check=True, capture_output=True, text=True)
    # One copy is 1; two would be 2. Leaves here are a thirtieth of the whole.
    assert float(answer.stdout) < 1.25
