"""What a notebook defines besides functions and plain classes: enumerations, types of `typing`, exceptions."""

from __future__ import annotations

import enum
import functools
import typing
import weakref
from typing import Any

import pytest

import jupyter_ray as ray

pytestmark = pytest.mark.usefixtures("cluster")
VALUES = pytest.mark.local_only("Ray's own pickler stores values")


def there(function: Any) -> Any:
    """Return what a function returns in a task."""
    return ray.get(ray.remote(function).remote())


def test_enumerations_have_their_aliases_and_combined_flags() -> None:
    class Color(enum.Enum):
        RED = 1
        CRIMSON = 1
        BLUE = 2

    class Right(enum.Flag):
        READ = 1
        WRITE = 2
        BOTH = READ | WRITE
        NONE = 0

    names, same, both = there(
        lambda: (list(Color.__members__), Color["CRIMSON"] is Color.RED, Right.BOTH is Right.READ | Right.WRITE)
    )
    assert names == ["RED", "CRIMSON", "BLUE"]
    assert same
    assert both


def test_members_keep_what_their_class_gave_them() -> None:
    class Planet(enum.Enum):
        EARTH = (6.0, 2.0)

        def __init__(self, mass: float, radius: float) -> None:
            self.mass = mass
            self.radius = radius

        @property
        def density(self) -> float:
            return self.mass / self.radius

    class Label(str, enum.Enum):
        text: str
        RED = ("r", "Red")

        def __new__(cls, value: str, text: str) -> Label:
            made = str.__new__(cls, value)
            made._value_ = value
            made.text = text
            return made

    assert there(lambda: (Planet.EARTH.density, Label.RED.text, str.__eq__(Label.RED, "r"))) == (3.0, "Red", True)


def test_types_that_typing_declares() -> None:
    user_id = typing.NewType("user_id", int)
    parameters = typing.ParamSpec("parameters")
    result = typing.TypeVar("result")

    def twice(function: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs), function(*args, **kwargs)

        return call

    # As they are without `from __future__ import annotations`, in most notebooks.
    twice.__annotations__ = {"function": typing.Callable[parameters, result]}
    doubled = twice(lambda: user_id(3))
    each: Any = parameters
    doubled.__annotations__ = {"args": each.args, "kwargs": each.kwargs, "return": user_id}
    assert there(lambda: (doubled(), twice(doubled)()[1])) == ((3, 3), (3, 3))


def test_typed_dictionaries() -> None:
    point = typing.TypedDict("point", {"x": int})  # noqa: UP013

    class Named(point, total=False):
        name: str

    class Labelled(Named):
        label: str

    made, keys = there(lambda: (Labelled(x=1, name="a", label="b"), Labelled.__required_keys__))
    assert made == {"x": 1, "name": "a", "label": "b"}
    assert keys == {"x", "label"}


@VALUES
def test_what_comes_back_is_what_this_program_has() -> None:
    class Right(enum.Flag):
        READ = 1
        ALIAS = 1
        WRITE = 2
        BOTH = READ | WRITE
        NONE = 0

    user_id = typing.NewType("user_id", int)
    point = typing.TypedDict("point", {"x": int})  # noqa: UP013
    mine = [*Right.__members__.values(), user_id, point]
    returned = there(lambda: [*Right.__members__.values(), user_id, point])
    assert all(one is other for one, other in zip(mine, returned, strict=True))


def test_functions_that_dispatch_and_weak_dictionaries() -> None:
    @functools.singledispatch
    def kind(value: object) -> str:
        return "thing"

    @kind.register(int)
    def _(value: int) -> str:
        return "number"

    class Thing:
        made: typing.ClassVar[Any] = weakref.WeakValueDictionary()

        def __init__(self, name: str) -> None:
            self.made[name] = self

    def look() -> tuple[str, str, list[str]]:
        kept = Thing("a")
        return kind(1), kind(""), [name for name, each in Thing.made.items() if each is kept]

    assert there(look) == ("number", "thing", ["a"])


@VALUES
def test_exceptions_are_values_whatever_their_constructor_takes() -> None:
    class Refused(Exception):
        def __init__(self, code: int, reason: str) -> None:
            super().__init__(f"{reason} ({code})")
            self.code = code

    def returned() -> Any:
        return {"error": Refused(4, "no")}

    for error in (there(returned)["error"], ray.get(ray.put([Refused(4, "no")]))[0]):
        assert type(error) is Refused
        assert (str(error), error.code) == ("no (4)", 4)
    assert ray.get(ray.remote(lambda error: error.code).remote(Refused(5, "no"))) == 5


def test_an_actor_class_that_calls_super_with_its_own_name() -> None:
    """Ray, since 2017: super() argument 1 must be type, not ActorClass(Derived)."""

    class Base:
        def __init__(self, start: int) -> None:
            self.value = start

        def who(self) -> str:
            return "base"

        @classmethod
        def make(cls) -> str:
            return "made"

    @ray.remote
    class Derived(Base):
        def __init__(self) -> None:
            super(Derived, self).__init__(3)  # noqa: UP008

        def who(self) -> str:
            return super(Derived, self).who() + super().who() + self.make()  # noqa: UP008

        @classmethod
        def make(cls) -> str:
            return super(Derived, cls).make()  # noqa: UP008

        def look(self) -> tuple[int, str]:
            return self.value, self.who()

        def start(self) -> str:
            own: Any = Derived
            return str(ray.get(own.remote().who.remote()))

    made: Any = Derived
    actor = made.remote()
    assert ray.get(actor.look.remote()) == (3, "basebasemade")
    assert ray.get(actor.start.remote()) == "basebasemade"


def test_an_actor_class_answers_isinstance_and_makes_annotations() -> None:
    class Base:
        pass

    @ray.remote
    class Point(Base):
        def __init__(self, x: int) -> None:
            self.x = x

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Point) and other.x == self.x

        __hash__ = None  # type: ignore[assignment]

        def compare(self) -> list[bool]:
            kind = type(self)
            return [self == kind(self.x), self == kind(-1), self == self.x, issubclass(kind, Point)]

    made: Any = Point
    assert ray.get(made.remote(3).compare.remote()) == [True, False, False, True]
    assert not isinstance(Base(), Point)

    @ray.remote
    def ask(point: Point | None = None) -> bool:
        return point is None

    ask._function.__annotations__["point"] = Point | None
    assert ray.get(ask.remote())


@VALUES
def test_a_result_changes_nothing_in_the_class_that_it_is_of() -> None:
    """A task's class attributes are its own; Ray sets those of the notebook's class with each instance that comes."""

    class Model:
        made = 0
        known: typing.ClassVar[dict[str, type]] = {}

        def __init_subclass__(cls) -> None:
            Model.known[cls.__name__] = cls

        def name(self) -> str:
            return "old"

    class Linear(Model):
        pass

    def make() -> tuple[Model, int, list[str]]:
        Model.made += 1
        Model.known["there"] = Model
        return Linear(), len(Model.__subclasses__()), list(Model.known)

    ref = ray.remote(make).remote()
    ray.wait([ref])
    Model.made = 7
    Model.name = lambda self: "new"  # type: ignore[method-assign]
    instance, subclasses, known = ray.get(ref)
    assert (Model.made, instance.name()) == (7, "new")
    assert Model.known == {"Linear": Linear}
    assert Model.__subclasses__() == [Linear]
    assert (subclasses, known) == (1, ["Linear", "there"])


def test_what_the_notebook_changes_in_a_class_reaches_tasks() -> None:
    class Setting:
        value = 1

    @ray.remote
    class Reader:
        def read(self, setting: Setting) -> int:
            return Setting.value

    reader: Any = Reader
    actor = reader.remote()
    assert ray.get(actor.read.remote(Setting())) == 1
    Setting.value = 2
    assert ray.get(actor.read.remote(Setting())) == 2


def test_classes_that_want_keywords() -> None:
    """Of a class statement, that is: those are not known where the class is made again."""

    class Base:
        key: str

        def __init_subclass__(cls, /, key: str, **kwargs: Any) -> None:
            super().__init_subclass__(**kwargs)
            cls.key = key

    class Child(Base, key="a"):
        pass

    class Meta(type):
        flag: int

        def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any], flag: int) -> Meta:
            made = super().__new__(cls, name, bases, body)
            made.flag = flag
            return made

        def __init__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any], flag: int) -> None:
            super().__init__(name, bases, body)

    class Flagged(metaclass=Meta, flag=3):
        pass

    def look() -> tuple[str, int, str]:
        class Grandchild(Child, key="b"):
            pass

        return Child.key, Flagged.flag, Grandchild.key

    assert there(look) == ("a", 3, "b")
