"""Absolute actions that come faster than policy steps."""

import numpy as np
import pytest

from test.bags.test_demonstrations import read
from test.bags.test_demonstrations import recorded


@pytest.mark.parametrize('rate_hz', [10, 50])
def test_of_faster_targets_the_last_of_each_step_counts_as_in_data_sets(tmp_path, rate_hz):
    count = 8 * rate_hz // 5
    targets = np.repeat(np.arange(count)[:, None] / 100.0, 7, axis=1)
    found = read(tmp_path, recorded(
        count, stamps_ns=np.arange(count) * 10**9 // rate_hz, actions=targets, state=targets))
    each = rate_hz // 5
    np.testing.assert_allclose(found.episode.actions[:, 0], targets[each - 1::each, 0], atol=1e-7)
    np.testing.assert_allclose(found.episode.proprio[:, 0], targets[::each, 0], atol=1e-7)
    [finding] = found.findings
    assert (finding.kind, finding.topic) == ('rate', '/expert_action')
    assert 'the last target of each step is taken' in finding.text
