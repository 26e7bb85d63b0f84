"""Writes a checkpoint of a released size with random weights, for `octo-ros bench`.

`python -m octo_ros.cli.bench_checkpoint octo-small-1.5 FOLDER` takes everything but the model
from the checkpoint that ships with the package, its small vocabulary included, and prints `{}`.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from octo_ros.assets import shipped_checkpoint
from octo_ros.checkpoint.released import read_config
from octo_ros.checkpoint.released import read_statistics
from octo_ros.checkpoint.save import save_checkpoint
from octo_ros.model.config import example_batch
from octo_ros.model.config import preset
from octo_ros.policy.octo_model import OctoModel
from octo_ros.policy.text import TextProcessor


def write(name: str, folder: Path) -> None:
    """Writes the checkpoint of a preset; raises ParameterError when there is no such preset."""
    shipped = shipped_checkpoint()
    config = {**read_config(shipped), 'model': preset(name)}
    batch = _with_actions(example_batch(), config['model']['heads']['action']['kwargs'])
    model = OctoModel.from_config(config, batch)
    text = TextProcessor.from_config(config['text_processor'], [shipped])
    save_checkpoint(folder, 0, params=model.params, config=config, example_batch=batch,
                    dataset_statistics=read_statistics(shipped), vocabulary=text.vocabulary_file())


def _with_actions(batch: dict[str, Any], head: dict[str, Any]) -> dict[str, Any]:
    window = batch['observation']['timestep_pad_mask'].shape[1]
    shape = (1, window, head['action_horizon'], head['action_dim'])
    return {**batch, 'action': np.zeros(shape, np.float32),
            'action_pad_mask': np.ones(shape, bool)}


if __name__ == '__main__':
    write(sys.argv[1], Path(sys.argv[2]))
    print(json.dumps({}))
