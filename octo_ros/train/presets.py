"""Whole runs by name: `octo-ros finetune RECORDINGS --preset NAME`.

A preset is a starting point; whatever the command line gives goes before it. What its docstring
says of run time and success was measured with its command, or says that it was not.
"""

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

from octo_ros.data.tasks import TaskParams
from octo_ros.errors import ParameterError
from octo_ros.errors import closest
from octo_ros.params import to_flat
from octo_ros.train.adapt import ModelParams
from octo_ros.train.params import OptimizerParams
from octo_ros.train.params import TrainParams
from octo_ros.train.scratch import ScratchParams

RELEASED_SMALL = 'hf://rail-berkeley/octo-small-1.5'


@dataclasses.dataclass(frozen=True)
class Preset:
    """What a run starts from.

    Attributes:
        checkpoint: what is fine-tuned; empty for a new small model.
        sizes: camera to height and width of a new model's images [pixel].
        hold_out: number of episodes, the last ones, to test with.
        train: the run.
        model: what of the checkpoint's model is changed.
        scratch: sizes of a new model.
    """

    checkpoint: str = ''
    sizes: Mapping[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    hold_out: int = 0
    train: TrainParams = dataclasses.field(default_factory=TrainParams)
    model: ModelParams = dataclasses.field(default_factory=ModelParams)
    scratch: ScratchParams = dataclasses.field(default_factory=ScratchParams)

    def values(self) -> dict[str, Any]:
        """Returns all parameters by dotted name, as `--set` takes them."""
        groups = {'': self.train, 'model.': self.model, 'scratch.': self.scratch}
        return {prefix + name: value for prefix, group in groups.items()
                for name, value in to_flat(group).items()}


@dataclasses.dataclass(frozen=True)
class OctoSmall(Preset):
    """Fine-tunes all of the released Octo-Small but its language model, as its authors do.

    Command: octo-ros finetune RECORDINGS --robot widowx --preset octo_small --out trained
    Run time: not measured on a GPU, which it is for; with little memory there add --set
        optimizer.accumulate=4. Two processor cores do 1 example/s (tried with random weights).
    Expected success: not measured.
    """

    checkpoint: str = RELEASED_SMALL
    hold_out: int = 4


@dataclasses.dataclass(frozen=True)
class OctoSmallHead(Preset):
    """Trains only the action head of the released Octo-Small: for a laptop or a small GPU.

    The transformer runs forward only, so that memory and time go down; a robot that differs much
    from those that Octo knows wants `octo_small`.

    Command: octo-ros finetune RECORDINGS --robot widowx --preset octo_small_head --out trained
    Run time: 2 examples/s and 6 GB on two processor cores, four days for all its steps (tried with
        random weights); not measured on a GPU.
    Expected success: not measured.
    """

    checkpoint: str = RELEASED_SMALL
    hold_out: int = 4
    train: TrainParams = dataclasses.field(default_factory=lambda: TrainParams(
        mode='head_only', steps=10_000, batch_size=64,
        optimizer=OptimizerParams(warmup_steps=500)))


@dataclasses.dataclass(frozen=True)
class Tabletop(Preset):
    """Trains a small policy on recordings of the simulator: the first half of the shipped one.

    Images of 64 x 64 pixels, one step of history and no augmentation keep it small; the scenes
    themselves vary enough. The recordings are those of `octo-ros record demos --episodes 24000
    --processes 16 --size primary=64x64 --size wrist=64x64`. It wants a GPU that holds their
    frames, 10 GB; without one add --set frames_on_device=false, and expect a day.

    Command: octo-ros finetune demos --robot viperx_sim --preset tabletop --out tabletop
    Run time: 5 minutes on an NVIDIA H100, 29,500 examples/s.
    Expected success: by goal image 98 %; by words 49 %, for it does not learn which colour a word
        means; `tabletop_words` does (20 scenes, `octo-ros eval --fast`).
    """

    sizes: Mapping[str, tuple[int, int]] = dataclasses.field(
        default_factory=lambda: {'primary': (64, 64), 'wrist': (64, 64)})
    hold_out: int = 50
    train: TrainParams = dataclasses.field(default_factory=lambda: TrainParams(
        steps=10_500, batch_size=512, augment=False, frames_on_device=True, opening_steps=3,
        opening_visits=2, log_every=250, eval_every=5000, eval_samples=1, eval_steps=2048,
        task=TaskParams(keep_image_prob=0.3),
        optimizer=OptimizerParams(learning_rate=1.5e-3, warmup_steps=500, ema_decay=0.999)))
    model: ModelParams = dataclasses.field(default_factory=lambda: ModelParams(
        head='l1', proprio='on', proprio_bins=0, detail=('primary',)))
    scratch: ScratchParams = dataclasses.field(default_factory=lambda: ScratchParams(
        window=1, layers=5, mlp_dim=512, stem_features=(32, 32, 64, 128), patch=16))


@dataclasses.dataclass(frozen=True)
class TabletopWords(Preset):
    """Goes on from `tabletop`, until the policy listens which block it is told.

    The recordings are those of `octo-ros record scenes --seed 200000 --episodes 1900
    --every-colour --processes 2 --size primary=64x64 --size wrist=64x64`, the checkpoint that of
    `python scripts/teach_colours.py tabletop/checkpoint taught`; `make policy` runs it all.

    Command: octo-ros finetune scenes --robot viperx_sim --preset tabletop_words --out trained
    Run time: 48 minutes on 2 processor cores, 60 examples/s.
    Expected success: 99 %, by words as by goal image; 27 % when the instruction changes on the
        way, which `tabletop_changes` teaches.
    """

    checkpoint: str = 'taught'
    hold_out: int = 60
    train: TrainParams = dataclasses.field(default_factory=lambda: TrainParams(
        steps=9000, batch_size=16, augment=False, contrast=True, opening_steps=3,
        opening_visits=3, log_every=50, eval_every=500, save_every=500, eval_samples=1,
        eval_steps=512, task=TaskParams(keep_image_prob=0.25),
        optimizer=OptimizerParams(learning_rate=6e-4, warmup_steps=200, ema_decay=0.998)))
    model: ModelParams = dataclasses.field(default_factory=lambda: ModelParams(
        proprio='on', proprio_bins=0, instructed=('primary',)))


@dataclasses.dataclass(frozen=True)
class TabletopChanges(TabletopWords):
    """Goes on from `tabletop_words`, until the policy turns round when the task changes.

    The recordings are those of `octo-ros record changes --seed 300000 --episodes 1700
    --every-colour --interrupted 0.7 --processes 2 --size primary=64x64 --size wrist=64x64`;
    `make policy` runs it all.

    Command: octo-ros finetune changes --robot viperx_sim --preset tabletop_changes --out changed
    Run time: 17 minutes on 2 processor cores (AMD EPYC), 80 examples/s.
    Expected success: 98 % when the instruction changes on the way, 95 % when another block is
        held, 99 % else (the tables are in the README).
    """

    checkpoint: str = 'trained/checkpoint'
    train: TrainParams = dataclasses.field(default_factory=lambda: dataclasses.replace(
        TabletopWords().train, steps=5000, eval_every=1000, save_every=1000,
        optimizer=OptimizerParams(learning_rate=3e-4, warmup_steps=100, ema_decay=0.998)))


@dataclasses.dataclass(frozen=True)
class FirstLook(Preset):
    """Trains a small policy on a hundred demonstrations of the simulator, to see it all work.

    The recordings are those of `octo-ros record demos --episodes 100`, 10 s. It learns when to
    close the gripper and roughly where to go; doing tasks wants `tabletop`.

    Command: octo-ros finetune demos --robot viperx_sim --state /state --preset first_look
        --out trained
    Run time: 1 minute on 2 processor cores (AMD EPYC), 340 examples/s.
    Expected success: none; held-out action error 0.78 of that of the mean action.
    """

    sizes: Mapping[str, tuple[int, int]] = dataclasses.field(
        default_factory=lambda: {'primary': (64, 64), 'wrist': (64, 64)})
    hold_out: int = 10
    train: TrainParams = dataclasses.field(default_factory=lambda: TrainParams(
        steps=400, batch_size=32, augment=False, log_every=20, eval_every=200, save_every=200,
        optimizer=OptimizerParams(learning_rate=1e-3, warmup_steps=50)))
    model: ModelParams = dataclasses.field(default_factory=lambda: ModelParams(
        head='l1', proprio='on', proprio_bins=0))
    scratch: ScratchParams = dataclasses.field(default_factory=lambda: ScratchParams(
        window=1, layers=2, patch=32))


@dataclasses.dataclass(frozen=True)
class BridgeSmall(Preset):
    """Trains a small policy on a handful of real episodes, without a GPU.

    It is for a first look at one's own data: a policy to rely on wants a released checkpoint. A
    few episodes are soon learnt by heart, by how they look and where exactly the arm is. So the
    policy sees how fast the arm moves, numbers come with noise in training, and 98 of 100 examples
    without images: mostly it goes on as arms in these episodes do. It is told by goal images
    alone: of 16 instructions each tells which episode it is, and not what to do in a new one.

    Command: octo-ros finetune RECORDINGS --robot widowx
        --camera primary=/camera_0/image_raw/compressed --state /state --actions reached
        --preset bridge_small --out trained
    Run time: 1 minute on 2 processor cores (AMD EPYC).
    Expected success: not measured on a robot; the README has the error on held-out episodes.
    """

    sizes: Mapping[str, tuple[int, int]] = dataclasses.field(
        default_factory=lambda: {'primary': (64, 64)})
    hold_out: int = 4
    train: TrainParams = dataclasses.field(default_factory=lambda: TrainParams(
        steps=200, batch_size=36, augment=False, eval_every=50, log_every=50, eval_samples=1,
        proprio_noise=0.6, image_dropout=0.98,
        task=TaskParams(modality='image_conditioned'),
        optimizer=OptimizerParams(
            learning_rate=2e-4, warmup_steps=10, weight_decay=1.0, ema_decay=0.95)))
    model: ModelParams = dataclasses.field(default_factory=lambda: ModelParams(
        window=1, head='mse', proprio='on', velocity='on', proprio_bins=0,
        proprio_start=0.3))
    scratch: ScratchParams = dataclasses.field(default_factory=lambda: ScratchParams(
        window=1, layers=2, token_size=256, heads=8, mlp_dim=1024, stem_features=(32, 32, 32, 32),
        patch=64, language_layers=1, language_dim=32, text_tokens=24))


PRESETS: Mapping[str, type[Preset]] = {
    'octo_small': OctoSmall, 'octo_small_head': OctoSmallHead, 'tabletop': Tabletop,
    'tabletop_words': TabletopWords, 'tabletop_changes': TabletopChanges,
    'first_look': FirstLook, 'bridge_small': BridgeSmall}


def find_preset(name: str) -> Preset:
    """Returns a preset. Raises ParameterError for an unknown name."""
    if name not in PRESETS:
        raise ParameterError(
            f"'--preset' must be one of {', '.join(PRESETS)}, got '{name}'"
            f'{closest(name, PRESETS)}; --preset help tells of each')
    return PRESETS[name]()


def describe_presets() -> str:
    """Returns the name and the text of every preset."""
    return '\n\n'.join(f'{name}\n  ' + (inspect.getdoc(kind) or '').replace('\n', '\n  ')
                       for name, kind in PRESETS.items()) + '\n'
