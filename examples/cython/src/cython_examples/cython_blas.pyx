"""BLAS, called without Python in between, through SciPy's declarations. It writes into a buffer of the caller's."""

from scipy.linalg.cython_blas cimport ssyrk


def compute_kernel_matrix(
    str uplo,
    str trans,
    int n,
    int k,
    float alpha,
    const float[:, :, ::1] a,
    int start,
    int lda,
    float beta,
    float[:, ::1] c,
    int ldc,
):
    """Write ``alpha * A^T A + beta * C`` (or ``alpha * A A^T + beta * C``) into `c`, all of it: BLAS's ``ssyrk``.

    BLAS counts columns first, and `a` and `c` are in C's order: to BLAS they are transposed.

    Parameters
    ----------
    uplo
        The triangle that BLAS computes, "U" or "L". The other one is filled in from it.
    trans
        "N" for ``A A^T``, "T" for ``A^T A``, as BLAS sees A.
    n
        The order of `c`.
    k
        How many products are added up for each element.
    alpha, beta
        Factors.
    a
        float32, shape (matrices, rows, columns), C order. It is only read.
    start
        Which of the matrices in `a`.
    lda
        Elements from one row of the matrix to the next: the length of a row.
    c
        float32, shape (rows, `ldc`), C order, written in its first `n` rows and columns.
    ldc
        Elements from one row of `c` to the next.

    Raises
    ------
    ValueError
        The numbers do not fit the arrays.
    """
    if uplo not in ("U", "L") or trans not in ("N", "T"):
        raise ValueError(f"uplo is 'U' or 'L' and trans is 'N' or 'T', not {uplo!r} and {trans!r}")
    if n < 0 or k < 0 or not 0 <= start < a.shape[0]:
        raise ValueError(f"n={n}, k={k} and start={start} do not fit {a.shape[0]} matrices")
    cdef int rows = n if trans == "T" else k, columns = k if trans == "T" else n
    if lda != a.shape[2] or columns > a.shape[2] or rows > a.shape[1]:
        raise ValueError(f"a {rows} by {columns} matrix with lda={lda} is not in {a.shape[1]} rows of {a.shape[2]}")
    if ldc != c.shape[1] or n > c.shape[0] or n > c.shape[1]:
        raise ValueError(f"a matrix of order {n} with ldc={ldc} is not in {c.shape[0]} rows of {c.shape[1]}")
    if n == 0:
        return

    cdef char triangle = ord(uplo), transposed = ord(trans)
    cdef Py_ssize_t i, j
    with nogil:
        ssyrk(&triangle, &transposed, &n, &k, &alpha, <float *> &a[start, 0, 0], &lda, &beta, &c[0, 0], &ldc)
        for i in range(n):
            for j in range(i):
                if triangle == c"L":  # BLAS's lower triangle is the upper one here.
                    c[i, j] = c[j, i]
                else:
                    c[j, i] = c[i, j]
