"""What a controller needs to know to drive the simulated robot."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from octo_ros.bags.recording import STATE_TOPIC
from octo_ros.checkpoint import hub
from octo_ros.errors import OctoError
from octo_ros.sim import scene

CAMERA = '/camera_{}/image_raw'
ROBOT = 'viperx_sim'


def camera_remaps() -> dict[str, str]:
    """Returns the topic of each camera by observation key."""
    return {f'image_{camera}': CAMERA.format(camera) for camera in scene.CAMERAS}


def proprio_remaps(checkpoint: str) -> dict[str, str]:
    """Returns the topic of `proprio` where a checkpoint takes it, else nothing."""
    return {'proprio': STATE_TOPIC} if takes_proprio(checkpoint) else {}


def takes_proprio(checkpoint: str) -> bool:
    """True when a checkpoint has a tokenizer that reads `proprio`.

    Its config says so; nothing else is read, so this takes no time. Of a checkpoint that cannot
    be read it is False: what is wrong the controller says, which reads all of it.

    Args:
        checkpoint: folder or hf:// name.
    """
    try:
        folder = (hub.download(hub.parse(checkpoint)) if checkpoint.startswith(hub.PREFIX)
                  else Path(checkpoint).expanduser())
        config: Mapping[str, Any] = json.loads((folder / 'config.json').read_text('utf-8'))
        tokenizers = config['model']['observation_tokenizers'].values()
        patterns = [pattern for tokenizer in tokenizers
                    for pattern in tokenizer['kwargs'].get('obs_keys', ())]
        return any(re.match(pattern, 'proprio') for pattern in patterns)
    except (OctoError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
