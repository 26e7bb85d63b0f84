"""The services below the controller's name, all of std_srvs."""

import threading
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.task import Future
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


def offer_slow(node: Node, name: str, trigger: Callable[[], str]) -> None:
    """Offers a std_srvs/Trigger whose handler runs in a thread of its own, one call at a time."""
    call = _answering(trigger, ())

    async def answer(request: Any, response: Any) -> Any:
        answered: Future = Future(executor=node.executor)

        def work() -> None:
            try:
                answered.set_result(call(request, response))
            except Exception as error:  # without an answer, no further call would be taken
                response.message = f'{type(error).__name__}: {error}'
                answered.set_result(response)
            if node.executor is not None:
                node.executor.wake()

        threading.Thread(target=work, name=f'octo-{name}', daemon=True).start()
        return await answered

    node.create_service(Trigger, f'~/{name}', answer,
                        callback_group=MutuallyExclusiveCallbackGroup())


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
