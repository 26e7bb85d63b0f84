"""Installs octo_ros with pip or, inside a ROS 2 workspace, with colcon."""

from glob import glob

from setuptools import find_packages
from setuptools import setup

NAME = 'octo_ros'

# What the policy needs. Not in install_requires: on a robot, OpenCV and NumPy often come from apt,
# where pip does not see them, and an entry point must start there all the same.
POLICY = [
    'flax>=0.10.7',
    'huggingface_hub>=0.30',
    'jax>=0.6.2',
    'jaxtyping>=0.3.0',
    'matplotlib>=3.8.4',
    'msgpack>=1.0.3',
    'numpy>=1.26.4',
    'opencv-python-headless>=4.8.1.78',
    'orbax-checkpoint>=0.11.32',
    'pyyaml>=6.0',
    'rich>=13.0',
    'rosbags>=0.11.9',
    'ruamel.yaml.clib>=0.2.12',  # rosbags opens a recording in 2 ms with it, in 100 ms without
    'sentencepiece>=0.2.0',
    'simplejpeg>=1.8.2',
    'transforms3d>=0.4.1',
]

# Real ROS 2 Kilted (rclpy and messages) as wheels, for a machine without a ROS 2 installation.
ROS_WHEELS = [
    'ros-ament-index-python==1.11.0',
    'ros-diagnostic-msgs==5.5.1',
    'ros-geometry-msgs==5.5.1',
    'ros-lifecycle-msgs==2.3.0',
    'ros-rcl-interfaces==2.3.0',
    'ros-rclpy==9.1.2',
    'ros-rmw-fastrtps-cpp==9.3.3',
    'ros-rosgraph-msgs==2.3.0',
    'ros-sensor-msgs==5.5.1',
    'ros-std-msgs==5.5.1',
    'ros-std-srvs==5.5.1',
    'ros-trajectory-msgs==5.5.1',
]

# The simulator, the ViperX arm's meshes that it draws, and H.264 for its videos. Of gym-aloha only
# files are read; from Python 3.13 on, what it depends on cannot be installed (see Makefile).
SIM = [
    'av>=14.0',
    "gym-aloha>=0.1.5; python_version < '3.13'",
    'mujoco>=3.8.1',
]

# Training; pyarrow and av read and write LeRobot data sets, google-crc32c checks TFRecord files.
TRAIN = [
    'av>=14.2',
    'google-crc32c>=1.5',
    'grain>=0.2.13',
    'optax>=0.2.4',
    'pyarrow>=17.0',
    'tensorboardX>=2.6.5',
]

TEST = [
    'hypothesis>=6.100',
    'import-linter>=2.0',
    'mypy>=2.4,<2.5',
    'protobuf>=4.22',
    'pytest>=8.0',
    'pytest-timeout>=2.3',
    'pytest-xdist>=3.7',
    'rosbags-image>=0.10.0',
    'ruff>=0.17,<0.18',
    'scipy>=1.11',
    'setuptools>=70.1',
]

setup(
    name=NAME,
    version='0.1.0',
    description='Drives a robot with the Octo generalist policy over ROS 2.',
    author='octo_ros maintainers',
    author_email='octo-ros@example.com',
    maintainer='octo_ros maintainers',
    maintainer_email='octo-ros@example.com',
    license='MIT',
    python_requires='>=3.10',
    packages=find_packages(include=[NAME, f'{NAME}.*']),
    package_data={NAME: ['assets/**/*']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
        (f'share/{NAME}', ['package.xml']),
        (f'share/{NAME}/launch', sorted(glob('launch/*.launch.py'))),
        (f'share/{NAME}/config', sorted(glob('config/*.yaml') + glob('config/*.xml'))),
        (f'share/{NAME}/config/robots', sorted(glob('config/robots/*.yaml'))),
    ],
    install_requires=[],
    extras_require={
        'policy': POLICY,
        'ros': POLICY + ROS_WHEELS,
        'sim': POLICY + SIM,
        'train': POLICY + TRAIN,
        'test': TEST,
    },
    zip_safe=False,
    entry_points={
        'console_scripts': [
            'octo-ros = octo_ros.cli.main:main',
            'octo_controller = octo_ros.nodes.entry:controller',
            'image_player = octo_ros.nodes.entry:player',
            'octo_sim = octo_ros.nodes.entry:simulator',
        ],
    },
)
