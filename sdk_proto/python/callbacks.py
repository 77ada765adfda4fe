"""Calls the application. What it raises is its own: it must not end the connection."""

import logging
from collections.abc import Callable
from typing import TypeVar

from sdk_proto.python.status import Problem

log = logging.getLogger("taco")
T = TypeVar("T")


class Callbacks:
    """`on_problem` is told of every problem, those of other callbacks among them."""

    def __init__(self, on_problem: Callable[[Problem], object] | None) -> None:
        self._on_problem = on_problem

    def tell(self, problem: Problem) -> None:
        log.warning("%s%s: %s", problem.kind, f" {problem.message_id}" if problem.message_id else "", problem.error)
        self.call(self._on_problem, problem)

    def call(self, callback: Callable[[T], object] | None, argument: T) -> None:
        if callback is None:
            return
        try:
            callback(argument)
        except Exception as error:
            log.exception("a callback raised")
            if callback is not self._on_problem:
                self.call(self._on_problem, Problem("callback", error))
