"""A matrix seen as a vector.

What Numba itself has for this, `reshape`, takes some tenths of a second to compile, for all shapes that there might be.
"""

from numba import types
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic, overload
from numba.np.arrayobj import make_array, populate_array


@intrinsic
def _in_a_row(typing, matrix):
    result = types.Array(matrix.dtype, 1, "C", readonly=not matrix.mutable)

    def generate(context, builder, signature, arguments):
        given = make_array(signature.args[0])(context, builder, arguments[0])
        out = make_array(signature.return_type)(context, builder)
        rows, columns = (builder.extract_value(given.shape, i) for i in range(2))
        populate_array(
            out,
            data=given.data,
            shape=[builder.mul(rows, columns)],
            strides=[given.itemsize],
            itemsize=given.itemsize,
            meminfo=given.meminfo,
            parent=given.parent,
        )
        return impl_ret_borrowed(context, builder, signature.return_type, out._getvalue())  # noqa: SLF001  Numba's own way

    return result(matrix), generate


def in_a_row(matrix):
    """Return a C-contiguous matrix as a vector of its elements."""
    return matrix.reshape(-1)


overload(in_a_row, inline="always")(
    lambda matrix: lambda matrix: _in_a_row(matrix)  # noqa: PLW0108  Numba wants a Python function
)
