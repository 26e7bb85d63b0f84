"""Passes what the ROS-free core logs on to the logger of a node."""

import logging

from rclpy.impl.rcutils_logger import RcutilsLogger

_ROOT = 'octo_ros'


class LoggingBridge(logging.Handler):
    """A handler of the `octo_ros` loggers that writes to rclpy's logger while it is attached."""

    def __init__(self, logger: RcutilsLogger) -> None:
        """Takes the logger of the node."""
        super().__init__(logging.INFO)
        self._logger = logger

    def attach(self) -> None:
        """Starts to listen."""
        root = logging.getLogger(_ROOT)
        root.addHandler(self)
        # The node's logger filters by its own level; a stricter one here would hide messages.
        self._level_before = root.level
        root.setLevel(min(root.level or logging.INFO, logging.INFO))

    def detach(self) -> None:
        """Stops to listen."""
        root = logging.getLogger(_ROOT)
        if self in root.handlers:
            root.removeHandler(self)
            root.setLevel(self._level_before)

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record. rclpy ties a severity to a line of code, hence one line for each."""
        text = record.getMessage()
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        else:
            self._logger.info(text)
