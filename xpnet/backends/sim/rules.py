"""Which of CuPy's functions do what: the facts behind the simulator, as data."""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# NumPy arrays pass through these and come back as NumPy arrays, computed on the host without a word.
COMPUTES_ON_HOST = _names(
    "sum mean max amax min amin std var prod dot reshape transpose ravel squeeze swapaxes take clip copy argsort sort"
    " argpartition partition array_equal repeat flip fliplr flipud rot90 matrix_transpose permute_dims diagonal trace"
    " fill_diagonal put add.reduce add.accumulate multiply.reduce multiply.accumulate"
)
# These copy a NumPy operand to the device without a word.
COPIES_TO_DEVICE = _names("einsum isclose allclose unique tile diff gradient append")

# The shape of the result, or a check inside, depends on values: the host waits for the device.
SYNCHRONISES = _names(
    "nonzero flatnonzero argwhere unique unique_all unique_counts unique_inverse unique_values bincount extract"
    " compress union1d intersect1d setdiff1d setxor1d trim_zeros place delete histogram histogram2d histogramdd"
    " nanmin nanmax choose unravel_index ravel_multi_index mask_indices real_if_close"
)
# Answered by the host from shapes and dtypes: no launch, and host arrays are welcome.
METADATA = _names(
    "result_type can_cast promote_types isdtype issubdtype broadcast_shapes ndim shape size iscomplexobj isrealobj"
    " isfortran isscalar may_share_memory shares_memory min_scalar_type common_type base_repr binary_repr typename"
    " mintypecode iterable format_float_positional format_float_scientific"
)
# Objects that are the same in both libraries (besides dtypes, numbers and exceptions).
SHARED_VALUES = _names("dtype finfo iinfo s_ index_exp ndindex")

# Real in CuPy, not simulated: they run the caller's code on scalars, read and write files, or print.
NOT_SIMULATED = _names(
    "apply_along_axis apply_over_axes piecewise fromfunction fromiter frombuffer fromfile fromstring genfromtxt"
    " loadtxt load save savez savez_compressed savetxt array2string array_repr array_str asarray_chkfinite"
    " get_printoptions set_printoptions printoptions from_dlpack show_config require byteswap dump dumps"
    " fft polynomial testing"
)

# They read as many elements as they write, however large their source is.
GATHERS = _names("take take_along_axis choose diag diagonal")

# Parameters that hold an array: a list in their place is refused by CuPy where NumPy converts it.
ARRAY_PARAMETERS = _names("a a_min a_max a1 a2 arr arr1 arr2 ar ar1 ar2 array ary b element m M v x x1 x2 y")
INDEX_PARAMETERS = frozenset({"indices", "ind"})  # a list is accepted here, and copied to the device
# Read by the host before it launches anything: an array of the device here is refused, having no __index__.
HOST_PARAMETERS = _names(
    "axis axes axis1 axis2 axisa axisb axisc shape newshape dimensions window_shape strides pad_width reps repeats k n"
    " N num ndim decimals ddof offset kth source destination indices_or_sections minlength size keepdims order dtype"
)

# ufunc.reduce and ufunc.accumulate exist for these, ufunc.at for those with those dtypes.
REDUCES = frozenset({"add", "multiply"})
_ATOMIC = _names("int32 int64 uint32 uint64")
SCATTERS = {
    "add": _ATOMIC | _names("float16 float32 float64"),
    "subtract": _names("int32 uint32"),
    **dict.fromkeys(("maximum", "minimum"), _ATOMIC | _names("float32 float64")),
    **dict.fromkeys(("bitwise_and", "bitwise_or", "bitwise_xor"), _ATOMIC),
}


def fate_of_host_array(function: str) -> str:
    """What the real CuPy does with a NumPy array given to this function, for an error message."""
    if function in COMPUTES_ON_HOST:
        return " (given nothing but host arrays, the real CuPy computes on the host without a word)"
    if function in COPIES_TO_DEVICE:
        return " (the real CuPy copies it to the device without a word)"
    return ""
