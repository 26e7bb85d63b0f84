"""Runs a checkpoint in this package and in Octo's own code, and compares.

First here, then with the Python of an environment that has Octo's repository and what it pins
(jax 0.4.20, flax 0.7.5, transformers 4.34.1, orbax-checkpoint 0.4.4, tensorflow 2.15):

    python scripts/compare_with_reference.py run CHECKPOINT outputs.npz
    octo/bin/python scripts/compare_with_reference.py check CHECKPOINT outputs.npz

The second line prints how far apart token ids and embeddings of the action readout are, and ends
with 1 where that is too far.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

TEXTS = ('put the red block on the plate', 'Reach the blue block!', 'push "it", to the (left); 12')
TOLERANCE = 1e-4  # of numbers up to about 6, in float32
READOUT = 'readout_action'
TEXT_END = 1


def run(checkpoint: Path, file: Path) -> None:
    """Writes random observations, the token ids of some texts, and what the transformer says."""
    from octo_ros import OctoModel
    model = OctoModel.load_pretrained(checkpoint)
    rng = np.random.default_rng(0)
    observations = {
        key: _random(rng, (len(TEXTS), *value.shape[1:]), value.dtype)
        for key, value in model.example_batch['observation'].items()
        if not isinstance(value, Mapping) and key != 'timestep_pad_mask'}
    mask = np.ones((len(TEXTS), model.example_batch['action'].shape[1]), bool)
    tasks = model.create_tasks(texts=list(TEXTS))
    outputs = model.run_transformer(observations, tasks, mask)
    np.savez(file, mask=mask, ids=tasks['language_instruction']['input_ids'],
             readout=np.asarray(outputs[READOUT].tokens),
             **{f'observation/{key}': value for key, value in observations.items()})


def check(checkpoint: Path, file: Path) -> bool:
    """Prints how far the reference is from what `run` wrote; returns whether that is too far."""
    from octo.model.octo_model import OctoModel
    saved = np.load(file.resolve())
    os.chdir(checkpoint)  # There transformers finds a language model that the hub lacks.
    model = OctoModel.load_pretrained(os.getcwd())
    tasks = model.create_tasks(texts=list(TEXTS))
    ids = tasks['language_instruction']['input_ids']
    if 'language_pieces' in model.example_batch['task']:
        tasks['language_pieces'] = count_pieces(
            ids, model.example_batch['task']['language_pieces'].shape[1])
    observations = {key.removeprefix('observation/'): saved[key] for key in saved.files
                    if key.startswith('observation/')}
    outputs = model.run_transformer(observations, tasks, saved['mask'], train=False)
    readout = np.asarray(outputs[READOUT].tokens)
    error = float(np.abs(readout - saved['readout']).max())
    same = bool(np.array_equal(ids, saved['ids']))
    print(f"token ids {'equal' if same else 'DIFFERENT'}, embeddings {readout.shape} up to "
          f'{np.abs(readout).max():.3g} differ by {error:.2g} at most')
    return not same or error > TOLERANCE


def count_pieces(ids: np.ndarray, vocabulary: int) -> np.ndarray:
    """Returns how often each piece stands in a text, as this package does by itself."""
    pieces = np.zeros((len(ids), vocabulary), np.float32)
    for row, text in enumerate(ids):
        np.add.at(pieces[row], text[text > TEXT_END], 1)
    return pieces


def _random(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    if dtype == np.uint8:
        return rng.integers(0, 256, shape, np.uint8)
    return rng.normal(size=shape).astype(dtype)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('where', choices=['run', 'check'])
    parser.add_argument('checkpoint', type=Path)
    parser.add_argument('file', type=Path)
    given = parser.parse_args()
    sys.exit((run if given.where == 'run' else check)(given.checkpoint, given.file))
