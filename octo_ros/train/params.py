"""What a person may set of a training run."""

import dataclasses

from octo_ros.data.tasks import TaskParams
from octo_ros.params import group
from octo_ros.params import param

MODES = ('full', 'head_only', 'head_mlp_only')


@dataclasses.dataclass(frozen=True)
class OptimizerParams:
    """AdamW with warm-up, as Octo was trained."""

    learning_rate: float = param(3e-4, 'Peak of the learning rate.', gt=0.0, le=1.0)
    schedule: str = param(
        'cosine', 'How the learning rate falls after the warm-up: along a cosine to zero at the '
        'last step, with the inverse square root of the step, or not at all.',
        one_of=('cosine', 'rsqrt', 'constant'))
    warmup_steps: int = param(2000, 'Steps in which the learning rate rises from zero.', ge=0)
    timescale: int = param(
        10000, 'Steps after which the inverse square root has fallen to 0.71.', ge=1)
    weight_decay: float = param(
        0.01, 'Decay of weight matrices (parameters named kernel) per unit of learning rate.',
        ge=0.0)
    clip_gradient: float = param(
        1.0, 'Greatest norm of the gradient over all trained parameters; 0: any.', ge=0.0)
    accumulate: int = param(
        1, 'Parts in which a batch goes through the model, to save memory.', ge=1)
    ema_decay: float = param(
        0.0, 'Decay per step of the moving average of the parameters, which is then what is '
        'tested and saved; 0: none.', ge=0.0, lt=1.0)


@dataclasses.dataclass(frozen=True)
class TrainParams:
    """A training run. The defaults fine-tune a released Octo as its authors did."""

    mode: str = param(
        'full', 'Which parameters are trained: all but the language model, the action head, or '
        'the action head without its attention pooling.', one_of=MODES)
    steps: int = param(50000, 'Number of optimizer steps.', ge=1)
    batch_size: int = param(256, 'Examples in a step, over all devices.', ge=1)
    seed: int = param(42, 'Seed of fresh weights, order, goals, augmentation and noise.', ge=0,
                      le=2**32 - 1)
    bfloat16: bool = param(
        False, 'Compute matrix products in bfloat16 with sums in float32, where the device can.')
    augment: bool = param(True, 'Augment images as the checkpoint was trained.')
    proprio_noise: float = param(
        0.0, 'Deviation of noise that is added to normalised proprio numbers and velocities in '
        'training: against learning few episodes by heart.',
        ge=0.0, le=10.0)
    image_dropout: float = param(
        0.0, 'Part of the examples in training that lose all images, goals too: against learning '
        'few episodes by their looks. Needs proprio.', ge=0.0, lt=1.0)
    opening_steps: int = param(
        0, 'First steps of an episode, in which only the task tells where to go; later on, a '
        'motion that has begun tells as much.', ge=0)
    opening_visits: int = param(
        1, 'How often an epoch visits the first steps of an episode; the others, once.',
        ge=1, le=100)
    contrast: bool = param(
        False, 'Keep these visits of episodes of one scene (octo-ros record --every-colour) side '
        'by side in a batch, so that nothing but the task tells their actions apart.')
    normalization_type: str = param(
        'normal', 'Normalise actions to mean 0 and deviation 1, or p01..p99 to -1..1.',
        one_of=('normal', 'bounds'))
    workers: int = param(0, 'Processes that make batches; 0: two threads.', ge=0, le=64)
    frames_on_device: bool = param(
        False, 'Keep all frames in the memory of each device, which takes those of a batch by '
        'itself: for a small model, which else waits for frames.')
    log_every: int = param(100, 'Steps between two lines of metrics.', ge=1)
    eval_every: int = param(1000, 'Steps between two tests on held-out episodes.', ge=1)
    save_every: int = param(1000, 'Steps between two saved states.', ge=1)
    eval_samples: int = param(
        8, 'Action chunks drawn and averaged for each held-out step.', ge=1, le=256)
    eval_steps: int = param(512, 'Greatest number of held-out steps in a test.', ge=1)
    task: TaskParams = group(TaskParams)
    optimizer: OptimizerParams = group(OptimizerParams)
