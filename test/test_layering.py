"""The layers: who may import whom, and that the core runs without ROS."""

import ast
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import octo_ros

ROOT = Path(__file__).resolve().parent.parent
ROS_MODULES = ('rclpy', 'sensor_msgs', 'std_msgs', 'geometry_msgs', 'trajectory_msgs', 'launch',
               'builtin_interfaces')
FRAMEWORKS = ('tensorflow', 'torch', 'transformers')
ROS_FREE_ROOTS = ('octo_ros.nodes',)

PROBE = f"""
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
found = sorted(set(sys.modules) & {set(ROS_MODULES) | set(FRAMEWORKS)!r})
sys.exit(f'imported along the way: {{found}}' if found else 0)
"""


def _modules() -> list[str]:
    return [module.name for module in pkgutil.walk_packages(octo_ros.__path__, 'octo_ros.')]


def test_every_module_below_nodes_imports_without_ros_and_without_a_second_framework():
    names = [name for name in _modules() if not name.startswith(ROS_FREE_ROOTS)]
    result = subprocess.run([sys.executable, '-c', PROBE, *names], capture_output=True,
                            text=True, check=False, env=os.environ | {'JAX_PLATFORMS': 'cpu'})
    assert result.returncode == 0, result.stderr


def test_help_imports_neither_jax_nor_ros():
    probe = ("import sys; from octo_ros.cli.main import build_parser; build_parser(); "
             "sys.exit(bool({'jax', 'rclpy', 'cv2', 'matplotlib'} & set(sys.modules)))")
    assert subprocess.run([sys.executable, '-c', probe], check=False).returncode == 0


def test_import_contracts_hold():
    result = subprocess.run([Path(sys.executable).parent / 'lint-imports', '--no-cache'],
                            cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize('name', ['octo_ros', 'launch', 'scripts'])
def test_modules_stay_small(name):
    for path in (ROOT / name).rglob('*.py'):
        lines = path.read_text().splitlines()
        assert len(lines) <= 350, f'{path} has {len(lines)} lines'


def test_functions_of_the_package_stay_small():
    for path in (ROOT / 'octo_ros').rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                assert length <= 60, f'{path}:{node.lineno} {node.name} has {length} lines'
