"""The metrics of a run that is taken up again."""

from octo_ros.train.metrics import MetricLog


def test_a_line_that_was_cut_short_does_not_keep_a_run_from_going_on(tmp_path):
    with MetricLog(tmp_path) as log:
        for step in (5, 10, 15):
            log.write(step, {'loss': 1.0 / step})
    lines = log.path.read_bytes()
    log.path.write_bytes(lines + b'20,held_out_la')
    with MetricLog(tmp_path, start=10) as log:
        assert log.values == {'loss': {5: 0.2, 10: 0.1}}
        log.write(15, {'loss': 1.0 / 15})
    assert log.path.read_bytes() == lines
    assert {item.name for item in tmp_path.iterdir()} == {'metrics.csv', 'tensorboard'}
