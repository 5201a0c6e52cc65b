# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=False
"""What the array functions (lanewise.ops) do around their kernels: arrays checked, results placed, threads chosen.

One build serves every ISA level and both number types; the kernels are found by an array's type (arrays.pyx). Names here are
those of lanewise.ops where they do all of its work."""
cimport numpy as cnp
from cpython.pycapsule cimport PyCapsule_New
from numpy cimport NPY_DOUBLE, NPY_FLOAT, NPY_INT64, ndarray, npy_intp

import numpy as np

from lanewise import _isa, threads
from lanewise.errors import DtypeError, LabelError, ShapeError

cnp.import_array()
ctypedef Py_ssize_t idx

include "calls_check.pxi"
include "calls_results.pxi"
include "calls_dense.pxi"
include "calls_norm.pxi"
include "calls_matmul.pxi"
include "calls_images.pxi"
