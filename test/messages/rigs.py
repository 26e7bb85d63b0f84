"""A runtime over a policy without a model, with pictures on demand."""

import numpy as np

from octo_ros.messages.runtime import Runtime
from octo_ros.policy.control_loop import LoopParams
from octo_ros.policy.fakes import FakePolicy
from octo_ros.policy.profile import RobotProfile

MS = 1_000_000
START = 1_700_000_000_000_000_000
STEP_MS = 200


class Rig:
    """A runtime with a policy without a model, and a camera that takes a picture on demand."""

    def __init__(self, messages, policy=None, **options):
        self.messages = messages
        self.policy = policy or FakePolicy()
        options = {'image_keys': ['image_wrist', 'image_primary'], **options}
        profile = options.pop('profile', RobotProfile())
        loop = options.pop('loop', LoopParams())
        self.runtime = Runtime(self.policy, loop, profile, **options)
        self.runtime.prepare()

    def look(self, time_ms, key='image_primary', encoding='rgb8'):
        shade = np.full((24, 32, 3), time_ms % 251, np.uint8)
        stamp_ns = START + time_ms * MS
        self.runtime.store(
            key, self.messages.image(shade, encoding, stamp_ns=stamp_ns), stamp_ns)

    def work(self, time_ms):
        """Does what timer and worker do at a time; returns the chunk and the output."""
        job = self.runtime.poll(START + time_ms * MS)
        chunk = None if job is None else self.runtime.accept(self.runtime.run(job))
        return chunk, self.runtime.tick(START + time_ms * MS)
