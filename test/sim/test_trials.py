"""What a policy is tested on, and the figures of it."""

import pytest

from octo_ros.errors import DataError
from octo_ros.errors import ParameterError
from octo_ros.sim.tasks import all_tasks
from octo_ros.sim.tasks import task_named
from octo_ros.sim.trials import BLANK
from octo_ros.sim.trials import CONDITIONS
from octo_ros.sim.trials import Outcome
from octo_ros.sim.trials import OutcomeFile
from octo_ros.sim.trials import Trial
from octo_ros.sim.trials import figures
from octo_ros.sim.trials import make_trials
from octo_ros.sim.trials import markdown

RED = task_named('lift_red')


def test_every_condition_gets_the_same_tasks_in_the_same_scenes():
    trials = make_trials(list(CONDITIONS), all_tasks(), range(100, 103))
    asked = {condition: [(t.task, t.seed) for t in trials if t.condition == condition]
             for condition in CONDITIONS}
    assert len({tuple(value) for value in asked.values()}) == 1
    assert {task.kind for task, _ in asked['goal']} == {'reach', 'lift', 'put', 'push'}
    assert len({trial.key for trial in trials}) == len(trials)


def test_an_unknown_condition_is_refused_with_the_closest():
    with pytest.raises(ParameterError, match="did you mean 'language'"):
        make_trials(['langage'], all_tasks(), [0])


def test_words_of_each_condition():
    words = {condition: Trial(condition, RED, 5).instruction for condition in CONDITIONS}
    assert words['language'] in RED.instructions()
    assert words['unseen'] in RED.instructions(held_out=True)
    assert words['unseen'] not in RED.instructions()
    assert words['goal'] == words['black'] == ''
    assert words['blank'] == BLANK
    assert 'red' not in words['colourless'].split()
    assert words['colourless'] == words['language'].replace('red ', '')


def test_a_changed_instruction_takes_the_place_of_one_for_another_block():
    for seed in range(5):
        first = Trial('changed', RED, seed).first_told
        assert first.replace('blue', 'red').replace('green', 'red') in RED.instructions()
        assert 'red' not in first.split()
        assert Trial('language', RED, seed).first_told == ''


def test_a_held_block_is_one_that_was_to_be_lifted():
    task = task_named('put_red_plate')
    lifts = task_named('lift_blue').instructions() + task_named('lift_green').instructions()
    assert Trial('held', task, 5).first_told in lifts


def test_figures_count_successes_and_wrong_colours():
    outcomes = [
        Outcome(Trial('language', RED, 0), True, 'red', 10, 1.0),
        Outcome(Trial('language', RED, 1), True, 'red', 20, 1.0),
        Outcome(Trial('language', RED, 2), False, 'blue', 40, 1.0),
        Outcome(Trial('language', task_named('reach_red'), 2), False, '', 40, 1.0),
    ]
    lift, reach, whole = figures(outcomes)
    assert (lift.kind, lift.successes, lift.trials, lift.right, lift.wrong) == ('lift', 2, 3, 2, 1)
    assert lift.mean_steps == 15
    assert 0.2 < lift.low < 2 / 3 < lift.high < 0.95
    assert (reach.successes, reach.right, reach.wrong) == (0, 0, 0)
    assert (whole.kind, whole.trials) == ('all', 4)
    assert '2/3 = 66.7%' in markdown([lift])


def test_where_nothing_succeeded_there_is_no_number_of_steps():
    (row,) = figures([Outcome(Trial('blank', RED, seed), False, '', 40, 0.1) for seed in (1, 2)])
    assert row.mean_steps is None
    assert markdown([row]).splitlines()[-1].endswith('| - |')


def test_the_block_that_is_held_first_does_not_count_as_gone_for():
    (row,) = figures([Outcome(Trial('held', RED, seed), True, 'blue', 9, 0.1) for seed in (1, 2)])
    assert markdown([row]).splitlines()[-1].endswith('| - | - | 9 |')


def test_outcomes_are_read_back_and_a_torn_line_is_left_out(tmp_path):
    table = OutcomeFile(tmp_path / 'outcomes.csv')
    assert list(table.read()) == []
    outcomes = [Outcome(Trial('unseen', RED, seed), seed == 1, 'red', 10, 1.5)
                for seed in range(3)]
    for outcome in outcomes:
        table.add(outcome)
    assert list(table.read()) == outcomes
    text = table.path.read_text()
    table.path.write_text(text[:text.rstrip().rindex(',') - 8])
    assert list(table.read()) == outcomes[:2]
    table.add(outcomes[2])
    assert list(table.read()) == outcomes


def test_a_line_of_outcomes_that_is_damaged_is_named(tmp_path):
    table = OutcomeFile(tmp_path / 'outcomes.csv')
    table.add(Outcome(Trial('unseen', RED, 1), True, 'red', 10, 1.5))
    table.path.write_text(table.path.read_text().replace('10,1.50', '10'))
    with pytest.raises(DataError, match=r'outcomes\.csv must hold an outcome in line 2'):
        list(table.read())


def test_another_table_is_refused(tmp_path):
    (tmp_path / 'outcomes.csv').write_text('a,b\n1,2\n')
    with pytest.raises(DataError, match='a, b'):
        list(OutcomeFile(tmp_path / 'outcomes.csv').read())
