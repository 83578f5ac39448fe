"""What `with` takes, as contextlib has it: that one imports `collections` and `functools`, 2 ms of each start.

`criu` starts for each dump and each restore: 2 ms are a twentieth of an idle task's.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress

    __all__ = ["ExitStack", "closing", "contextmanager", "nullcontext", "suppress"]
else:

    class suppress:
        """Exceptions of these kinds end the block, and no more."""

        __slots__ = ("_kinds",)

        def __init__(self, *kinds):
            self._kinds = kinds

        def __enter__(self):
            return None

        def __exit__(self, kind, e, tb):
            return kind is not None and issubclass(kind, self._kinds)

    class closing:
        """Its `close` is called in the end."""

        __slots__ = ("_thing",)

        def __init__(self, thing):
            self._thing = thing

        def __enter__(self):
            return self._thing

        def __exit__(self, *_):
            self._thing.close()

    class nullcontext:
        """Nothing is done."""

        __slots__ = ("_result",)

        def __init__(self, result=None):
            self._result = result

        def __enter__(self):
            return self._result

        def __exit__(self, *_):
            return None

    def contextmanager(function):
        """Of a generator function: the block runs where it yields."""

        def block(*args, **named):
            return _Block(function(*args, **named))

        return block

    class _Block:
        __slots__ = ("_generator",)

        def __init__(self, generator):
            self._generator = generator

        def __enter__(self):
            return next(self._generator)

        def __exit__(self, kind, e, tb):
            try:
                if e is None:
                    next(self._generator)
                else:
                    self._generator.throw(e)
            except StopIteration as end:
                return end is not e and e is not None
            except BaseException as other:
                if other is e or (isinstance(other, RuntimeError) and e is not None and other.__cause__ is e):
                    e.__traceback__ = tb  # without this frame
                    return False
                raise
            raise RuntimeError("a block goes on where it should have ended")

    class ExitStack:
        """Blocks, and calls, that are ended in the reverse order; each ends, whatever the others raise."""

        __slots__ = ("_exits",)

        def __init__(self):
            self._exits = []

        def enter_context(self, block):
            """Begin a block; what it gives."""
            result = block.__enter__()
            self._exits.append(block.__exit__)
            return result

        def callback(self, function, *args, **named):
            """Call this in the end."""

            def call(*_):
                function(*args, **named)

            self._exits.append(call)
            return function

        def pop_all(self):
            """Another stack has all of it from now on."""
            other = ExitStack()
            other._exits, self._exits = self._exits, []
            return other

        def close(self):
            """End all of it."""
            self.__exit__(None, None, None)

        def __enter__(self):
            return self

        def __exit__(self, kind, e, tb):
            given = e
            while self._exits:
                leave = self._exits.pop()
                try:
                    if leave(None if e is None else type(e), e, None if e is None else e.__traceback__):
                        e = None
                except BaseException as other:
                    e = other
            if e is not None and e is not given:
                raise e
            return given is not None and e is None
