"""Build the extension modules: ``pip install .``."""

import os

from Cython.Build import cythonize
from setuptools import Extension, setup

MODULES = ["cython_simple", "masked_log", "cython_blas", "buffers", "decorated"]

setup(
    ext_modules=cythonize(
        [Extension(f"cython_examples.{name}", [f"src/cython_examples/{name}.pyx"]) for name in MODULES],
        build_dir="build",  # The C files, which nobody needs to see.
        compiler_directives={"language_level": "3", "embedsignature": True},
    ),
    options={"build_ext": {"parallel": os.cpu_count()}},
)
