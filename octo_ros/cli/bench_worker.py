"""One measured start of the policy in a process of its own; `octo-ros bench` runs it.

`python -m octo_ros.cli.bench_worker CHECKPOINT --cache FOLDER` loads the checkpoint as the node
does, compiles, and measures. It prints one JSON object. A second start with the same cache folder
is a warm one.
"""

import argparse
import functools
import json
import resource
import sys
import time
from collections.abc import Callable
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import cv2
import jax
import numpy as np

from octo_ros.assets import shipped_recording
from octo_ros.bags.reader import BagReader
from octo_ros.errors import OctoError
from octo_ros.messages.conversions import decode_image
from octo_ros.policy import compiling
from octo_ros.policy.octo_model import OctoModel
from octo_ros.policy.policy import OctoPolicy
from octo_ros.policy.policy import PolicyParams
from octo_ros.policy.types import Frame
from octo_ros.policy.types import Task
from octo_ros.policy.types import Window

CAMERA_SIZE = (640, 480)  # width, height of the camera frames that get decoded [pixel]
JPEG_QUALITY = 90
FEWEST = 5


def measure(call: Callable[[], Any], *, repeats: int, limit_s: float) -> dict[str, float]:
    """Runs a call again and again and returns its latencies.

    Args:
        call: what to run; its result is waited for.
        repeats: how often, after one run that does not count.
        limit_s: ends early after that long [s], but not before a few runs.

    Returns:
        `runs`, `median_ms`, `p95_ms`, `p99_ms`.
    """
    jax.block_until_ready(call())
    begin = time.perf_counter()
    latencies_s: list[float] = []
    while len(latencies_s) < repeats and (
            len(latencies_s) < FEWEST or time.perf_counter() - begin < limit_s):
        start = time.perf_counter()
        jax.block_until_ready(call())
        latencies_s.append(time.perf_counter() - start)
    median, p95, p99 = 1e3 * np.percentile(latencies_s, (50, 95, 99))
    return {'runs': len(latencies_s), 'median_ms': float(median), 'p95_ms': float(p95),
            'p99_ms': float(p99)}


def camera_frame() -> np.ndarray:
    """Returns a believable camera frame, (480, 640, 3) uint8 RGB."""
    with BagReader(shipped_recording()) as bag:
        message = next(bag.messages(['/camera_primary/image_raw/compressed'])).message
    return cv2.resize(decode_image(message), CAMERA_SIZE, interpolation=cv2.INTER_CUBIC)


def image_stages(policy: OctoPolicy) -> dict[str, Callable[[], Any]]:
    """Returns the work on the images of one new policy step: every camera once."""
    frame = camera_frame()
    coded = cv2.imencode('.jpg', frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    message = SimpleNamespace(format='rgb8; jpeg compressed bgr8', data=coded.tobytes())
    keys = tuple(policy.spec.image_sizes)
    return {
        'decode': lambda: [decode_image(message) for _ in keys],
        'resize': lambda: [policy.preprocess(key, frame) for key in keys],
    }


def model_stages(model: OctoModel, window: int) -> dict[str, Callable[[], Any]]:
    """Returns the parts of the model, each compiled alone, on inputs of the full window."""
    variables = {'params': model.params}
    observations = jax.tree.map(
        lambda leaf: np.zeros((1, window, *leaf.shape[2:]), leaf.dtype),
        dict(model.example_batch['observation']))
    mask = np.ones((1, window), bool)

    def compiled(method: str, **options: Any) -> Callable[..., Any]:
        return compiling.compiled(
            functools.partial(model.module.apply, method=method, **options), compiling.FLOAT32)

    stages: dict[str, Callable[[], Any]] = {}
    # The example's instruction takes as long as any other, and needs no vocabulary.
    tasks = dict(model.example_batch['task'])
    if model.text_processor:
        encode = compiled('encode_language')
        stages['t5'] = functools.partial(encode, variables, tasks)
        tasks = {**tasks, 'language_instruction': encode(variables, tasks)}
    inputs = jax.device_put((observations, tasks, mask))
    tokenize, attend = compiled('tokenize'), compiled('attend')
    predict = compiled('predict_action')
    groups = tokenize(variables, *inputs)
    outputs = attend(variables, groups)
    stages['tokenizers'] = functools.partial(tokenize, variables, *inputs)
    stages['transformer'] = functools.partial(attend, variables, groups)
    stages['head'] = functools.partial(predict, variables, outputs, rng=jax.random.key(0))
    return stages


def start(
    checkpoint: str, cache: str, begun_s: float, statistics_key: str = ''
) -> tuple[OctoPolicy, dict[str, float]]:
    """Starts the policy as the node does; returns it and the seconds that each part took.

    Args:
        checkpoint: folder or `hf://owner/name[@revision]`.
        cache: folder of compiled programs.
        begun_s: when the process was started [s since 1970].
        statistics_key: dataset of a checkpoint that has several.
    """
    seconds = {'python_and_imports': time.time() - begun_s}
    clock = time.perf_counter()
    policy = OctoPolicy.load(PolicyParams(
        checkpoint=checkpoint, compilation_cache=cache, statistics_key=statistics_key))
    seconds['load'] = time.perf_counter() - clock
    clock = time.perf_counter()
    policy.prepare(tuple(policy.spec.image_sizes), window=policy.spec.window)
    seconds['compile_and_warm_up'] = time.perf_counter() - clock
    clock = time.perf_counter()
    infer(policy)
    seconds['first_inference'] = time.perf_counter() - clock
    seconds['total'] = time.time() - begun_s
    return policy, seconds


def infer(policy: OctoPolicy) -> Any:
    """Runs one inference on a full window, the instruction being encoded already."""
    return infer_on(policy)().actions


def infer_on(policy: OctoPolicy) -> Callable[[], Any]:
    """Returns a call that runs one inference: images of the right size in, actions out."""
    images = {key: np.zeros((*size, 3), np.uint8)
              for key, size in policy.spec.image_sizes.items()}
    window = Window([Frame(0, images)] * policy.spec.window, np.ones(policy.spec.window, bool))
    task = policy.encode_task(Task())
    return lambda: policy.infer(window, task)


def peak_memory_mb() -> dict[str, float]:
    """Returns the largest memory use of this process, and of the device where it says so [MB]."""
    unit = 1 if sys.platform == 'darwin' else 1024
    peaks = {'process': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6}
    statistics = jax.devices()[0].memory_stats()
    if statistics:
        peaks['device'] = statistics['peak_bytes_in_use'] / 1e6
    return peaks


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument('checkpoint')
    parser.add_argument('--cache', required=True)
    parser.add_argument('--statistics-key', default='')
    parser.add_argument('--begun', type=float, default=time.time())
    parser.add_argument('--repeats', type=int, default=0)
    parser.add_argument('--limit', type=float, default=30.0)
    args = parser.parse_args()
    try:
        policy, seconds = start(args.checkpoint, args.cache, args.begun, args.statistics_key)
    except OctoError as error:
        sys.exit(str(error))
    report: dict[str, Any] = {
        'start_up_s': seconds, 'peak_memory_mb': peak_memory_mb(),
        'device': f'{jax.default_backend()} ({jax.devices()[0].device_kind})',
        'parameters': sum(leaf.size for leaf in jax.tree.leaves(policy.model.params))}
    if args.repeats:
        report['stages'] = _latencies(policy, args.repeats, args.limit)
    print(json.dumps(report))


def _latencies(policy: OctoPolicy, repeats: int,
               limit_s: float) -> Mapping[str, dict[str, float]]:
    calls = {'inference': infer_on(policy), **image_stages(policy),
             **model_stages(policy.model, policy.spec.window)}
    return {name: measure(call, repeats=repeats, limit_s=limit_s) for name, call in calls.items()}


if __name__ == '__main__':
    main()
