"""The services below the controller's name, all of std_srvs."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from std_srvs.srv import SetBool
from std_srvs.srv import Trigger

from octo_ros.errors import OctoError


def offer(node: Node, triggers: dict[str, Callable[[], str]],
          switches: dict[str, Callable[[bool], str]]) -> None:
    """Offers services; what a handler returns is the answer's text, an OctoError its refusal.

    Args:
        node: owner of the services.
        triggers: name to handler of a std_srvs/Trigger.
        switches: name to handler of a std_srvs/SetBool.
    """
    group = MutuallyExclusiveCallbackGroup()
    for name, trigger in triggers.items():
        node.create_service(Trigger, f'~/{name}', _answering(trigger, ()), callback_group=group)
    for name, switch in switches.items():
        node.create_service(SetBool, f'~/{name}', _answering(switch, ('data',)),
                            callback_group=group)


def _answering(call: Callable[..., str], fields: Sequence[str]) -> Callable[[Any, Any], Any]:
    def answer(request: Any, response: Any) -> Any:
        try:
            response.message = call(*(getattr(request, field) for field in fields))
            response.success = True
        except OctoError as error:
            response.message = str(error)
            response.success = False
        return response

    return answer
