"""MediatorError: why a call of the mediator gave nothing, for programs and for people."""

from __future__ import annotations


class MediatorError(RuntimeError):
    """The mediator gave no usable reply."""

    def __init__(self, code: str, sentence: str) -> None:
        """Describe the failure.

        :param code: a stable code, for programs and metrics.
        :param sentence: the cause and the remedy, for a person.
        """
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
