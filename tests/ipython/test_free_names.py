"""What a `%%remote` cell takes along, by the names in its code."""

from __future__ import annotations

import ast

import pytest

from jupyter_ray.ipython.free_names import free_names

CASES = [
    # what a cell reads, and what it assigns before
    ("x = a + b", "a b", ""),
    ("df = load(); df.head()", "load", ""),
    ("total = total + 1", "total", ""),
    ("total += 1", "total", ""),
    ("del x", "x", ""),
    ("x: int = 1; y: T", "int T", ""),
    ("data[0] = value", "data value", ""),
    ("thing.size = 1", "thing", ""),
    ("f'{x:{w}} {1!r}'", "x w", ""),
    ("import a.b, c as d; a, d", "", ""),
    ("from m import *\nfoo", "", "foo"),
    ("with open(p) as f:\n  f.read()", "open p", ""),
    ("a and (b := c) and b\nb", "a c", "b"),
    ("y if (y := f()) else z", "f z", ""),
    # branches
    ("if c:\n  x = 1\nx", "c", "x"),
    ("if c:\n  x = 1\nelse:\n  x = 2\nx", "c", ""),
    ("if c:\n  x = 1\nelse:\n  raise E\nx", "c E", ""),
    ("for i in r:\n  s += i\ni", "r s", "i"),
    ("while w:\n  x = 1\nx", "w", "x"),
    ("try:\n  import foo\nexcept ImportError as e:\n  foo = None\nfoo", "ImportError", ""),
    ("try:\n  x = f()\nexcept E:\n  pass\nx", "f E", "x"),
    ("try:\n  x = f()\nfinally:\n  done = 1\nx, done", "f", ""),
    (
        "match v:\n  case {'a': a, **rest} if g:\n    a, rest\n  case P(x=q):\n    q\n  case K.C:\n    pass",
        "v g P K",
        "",
    ),
    # scopes inside
    ("[i * j for i in r for j in s if q]", "r s q", ""),
    ("[y := f(i) for i in r]; y", "f r", "y"),
    ("{k: v for k, v in pairs}", "pairs", ""),
    ("x = [x for x in x]", "x", ""),
    ("lambda a, *b, k=d, **c: a + n", "d n", ""),
    ("def f(a, b=d):\n  return a + b + g + f(1)\nf(z)", "d g z", ""),
    ("def f(x: A, *a: B, k=d) -> R: pass", "A B d R", ""),
    ("def f(): return h()\ndef h(): return k\nf()", "k", "h"),
    ("def f():\n  global c\n  c += 1", "c", ""),
    ("def f():\n  n = 0\n  def g():\n    nonlocal n\n    n += k\n  return g", "k", ""),
    ("def f():\n  def g(x: T = v): return x\n  return g", "T v", ""),
    ("async def f():\n  async for x in y:\n    await x\nawait f()", "y", ""),
    ("@d\nclass A(B, metaclass=M):\n  x = 1\n  y = x\n  def m(self): return x + w", "d B M x w", ""),
    ("class A:\n  def m(self): return A", "", "A"),
]


@pytest.mark.parametrize(("source", "required", "optional"), CASES, ids=[case[0].replace("\n", "; ") for case in CASES])
def test_names(source: str, required: str, optional: str) -> None:
    found = free_names(ast.parse(source))
    assert found.required == set(required.split())
    assert found.optional == set(optional.split())
