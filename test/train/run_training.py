"""Trains in a process of its own, for tests that kill it or give it other devices.

    python run_training.py SET FOLDER PARAMETERS_JSON [COORDINATOR PROCESSES PROCESS]
"""

import json
import sys
from pathlib import Path

from octo_ros import params as schema
from octo_ros.data.store import EpisodeSet
from octo_ros.train.adapt import ModelParams
from octo_ros.train.devices import Devices
from octo_ros.train.devices import connect
from octo_ros.train.devices import first_before_others
from octo_ros.train.finetune import plan_finetune
from octo_ros.train.loop import train
from octo_ros.train.params import TrainParams

sys.path.insert(0, str(Path(__file__).parent))
from conftest import make_base


def main():
    """Runs a training and prints each step as it is done."""
    data, folder, flat, *where = sys.argv[1:]
    if where:
        connect(where[0], int(where[1]), int(where[2]))
    episodes = EpisodeSet(data)
    values = json.loads(flat)
    head = values.pop('model.head', 'keep')
    params = schema.from_flat(TrainParams, values)
    with first_before_others('vocabulary'):
        base = make_base(episodes, Path(folder) / 'vocabulary')
    plan = plan_finetune(base, episodes, ModelParams(head=head), params, held_out=[0])

    class Printer:
        def update(self, step, metrics):
            print(step, flush=True)

    print(f'devices {Devices().count}', flush=True)
    train(plan.setup, params, Path(folder), progress=Printer())


if __name__ == '__main__':
    main()
