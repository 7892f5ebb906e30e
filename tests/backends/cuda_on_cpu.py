"""CUDA C++ compiled by g++: the threads of a block take turns on the CPU, from one barrier or shuffle to the next."""

from __future__ import annotations

import ctypes
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

# Each thread is a coroutine. It hands over where it waits; a round later all others have come there as well.
SHIM = """
#include <math.h>
#include <stdlib.h>
#include <ucontext.h>
#include <utility>
#define __device__
#define __global__
#define __shared__ static
struct Index { unsigned x, y, z; };
static Index threadIdx, blockIdx, blockDim, gridDim;
static const int MOST = 1024, STACK = 1 << 15;
enum { RUNNING, BARRIER, SHUFFLE, DONE };
static struct Thread { ucontext_t context; int state; char* stack; } threads[MOST];
static ucontext_t scheduler;
static int current;
static void (*body)();

static void hand_over(int state) {
    threads[current].state = state;
    swapcontext(&threads[current].context, &scheduler);
}
static void __syncthreads() { hand_over(BARRIER); }
static void __threadfence() {}
static int atomicAdd(int* address, int value) { int old = *address; *address += value; return old; }
template <class V> static V __shfl_xor_sync(unsigned, V value, int other) {
    static V values[MOST];
    values[current] = value;
    hand_over(SHUFFLE);
    V found = values[current ^ other];
    hand_over(SHUFFLE);
    return found;
}
static void thread() { body(); hand_over(DONE); }

// 0, or 1 where threads of a block do not all come to the same place.
static int run_block(int count) {
    for (int i = 0; i < count; ++i) {
        Thread& t = threads[i];
        if (!t.stack) t.stack = (char*)malloc(STACK);
        getcontext(&t.context);
        t.context.uc_stack.ss_sp = t.stack;
        t.context.uc_stack.ss_size = STACK;
        makecontext(&t.context, thread, 0);
    }
    do {
        for (current = 0; current < count; ++current) {
            threadIdx = {current % blockDim.x, current / blockDim.x, 0};
            swapcontext(&scheduler, &threads[current].context);
        }
        for (int i = 1; i < count; ++i) if (threads[i].state != threads[0].state) return 1;
    } while (threads[0].state != DONE);
    return 0;
}
static void** arguments;
template <class... A, size_t... I> static void call(void (*f)(A...), std::index_sequence<I...>) { f(*(A*)arguments[I]...); }
template <class... A> static void call(void (*f)(A...)) { call(f, std::index_sequence_for<A...>()); }
static int launch(void (*f)(), const int* grid, const int* block, void** given) {
    arguments = given;
    body = f;
    gridDim = {(unsigned)grid[0], (unsigned)grid[1], 1};
    blockDim = {(unsigned)block[0], (unsigned)block[1], 1};
    for (unsigned y = 0; y < gridDim.y; ++y)
        for (unsigned x = 0; x < gridDim.x; ++x) {
            blockIdx = {x, y, 0};
            if (run_block(block[0] * block[1])) return 1;
        }
    return 0;
}
"""
ENTRY = """
extern "C" int run_{name}(const int* grid, const int* block, void** given) {{
    return launch([] {{ call({space}::{entry}); }}, grid, block, given);
}}
"""


class Compiled:
    """Stands in for ``cupy.RawKernel``, for the sources that it is made of: each launch runs over NumPy arrays."""

    def __init__(self, sources: Iterable[str], folder: Path):
        self._names: dict[tuple[str, str], str] = {}
        text = SHIM
        for i, source in enumerate(sources):
            space = f"k{i}"
            plain = source.replace('extern "C" ', "")
            text += f"namespace {space} {{\n{plain}\n}}\n"
            for entry in re.findall(r"__global__ void (\w+)", source):
                name = self._names[source, entry] = f"{space}_{entry}"
                text += ENTRY.format(name=name, space=space, entry=entry)
        file = folder / "kernels.cpp"
        file.write_text(text)
        subprocess.run(["g++", "-std=c++14", "-O1", "-shared", "-fPIC", file, "-o", folder / "kernels.so"], check=True)
        self._library = ctypes.CDLL(str(folder / "kernels.so"))

    def __call__(self, source: str, entry: str) -> Any:
        run = getattr(self._library, f"run_{self._names[source, entry]}")

        def launch(grid: tuple, block: tuple, args: tuple) -> None:
            values = [np.array(a.ctypes.data, np.uintp) if isinstance(a, np.ndarray) else np.array(a) for a in args]
            addresses = (ctypes.c_void_p * len(values))(*(v.ctypes.data for v in values))
            sizes = [(ctypes.c_int * 2)(*size, *(1,) * (2 - len(size))) for size in (grid, block)]
            assert run(*sizes, addresses) == 0, f"{entry}: threads wait at different places"

        return launch
