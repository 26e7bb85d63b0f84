"""Runs the measurements: `python -m octo_ros.sim --seeds 100`."""

from octo_ros.sim.measure import main

if __name__ == '__main__':
    main()
