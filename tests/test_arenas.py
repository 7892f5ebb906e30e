"""Buffers: arenas, scratch memory, and the vector that losses are cut from."""

from __future__ import annotations

import numpy as np
import pytest
from core_helpers import address, allocations, mlp
from step_helpers import on_device

import xpnet as xn
from xpnet.arenas import Arena, ArenaPool, Results, Scratch


class TestArena:
    def test_order_decides_the_buffer(self, device):
        arena, shapes = Arena(device, "float32"), ((2, 3), (2, 3), (4,))
        held = [arena.empty(shape, "float32") for shape in shapes]
        first = [address(device, a) for a in held]
        assert len(set(first)) == 3
        del held
        for _ in range(2):
            arena.reset()
            assert [address(device, arena.empty(shape, "float32")) for shape in shapes] == first

    def test_a_buffer_that_nobody_holds_any_more_serves_again_in_the_same_pass(self, device):
        arena = Arena(device, "float32")
        kept, dropped = arena.empty((5,)), arena.empty((5,))
        view, place = kept[1:], address(device, dropped)
        del kept, dropped
        assert address(device, arena.empty((5,))) == place
        assert address(device, arena.empty((5,), "float64")) != place
        assert address(device, arena.empty((5,))) != address(device, view) - 4

    def test_what_only_a_pass_of_another_kind_used_is_let_go(self, device):
        arena = Arena(device, "float32")
        one, two = arena.empty((2,)), arena.empty((3,))
        del one, two
        for n in range(4, 20):
            arena.reset()
            arena.empty((2,))
            arena.empty((n,))
        assert arena.nbytes == 4 * (2 + 19)

    @pytest.mark.parametrize("other", [((3, 2), "float32"), ((2, 3), "float64"), ((2, 3), "bool")], ids=str)
    def test_another_shape_or_dtype_gets_another_buffer(self, device, other):
        arena = Arena(device, "float32")
        arena.empty((2, 3), "float32")
        arena.reset()
        a = arena.empty(*other)
        assert (a.shape, a.dtype.name) == other
        arena.reset()
        assert arena.empty((2, 3), "float32").shape == (2, 3)

    def test_memory_used_again_is_poisoned_on_the_simulated_gpu(self):
        device = xn.device("sim")
        arena = Arena(device, "float32")
        arena.empty((3,), "float32").fill(1)
        arena.reset()
        assert np.isnan(device.get(arena.empty((3,), "float32"))).all()

    def test_a_pool_gives_an_arena_to_one_pass_at_a_time(self, device):
        pool, key = ArenaPool(), (True, (3, 4))
        one, two = pool.take(key, device, "float32"), pool.take(key, device, "float32")
        assert one is not two
        pool.give(key, one)
        assert pool.take(key, device, "float32") is one
        assert pool.take(key, device, "float32") is not two

    def test_the_modes_of_a_pool_do_not_evict_each_other(self, device):
        pool = ArenaPool()
        arena = pool.take((True, (3,)), device, "float32")
        pool.give((True, (3,)), arena)
        for n in range(20):
            pool.give((False, (n,)), pool.take((False, (n,)), device, "float32"))
        assert pool.take((True, (3,)), device, "float32") is arena

    def test_a_pass_gives_its_buffers_back_when_it_dies(self, device):
        net = mlp(device=device)
        x, _ = on_device(device)
        step = net.step(training=True)
        net.forward(x, step)
        arena = step.arena
        assert net.arenas.take(step._key, device, "float32") is not arena
        key = step._key
        del step
        assert net.arenas.take(key, device, "float32") is arena

    def test_a_pass_that_never_ran_gives_nothing_back(self, device):
        net = mlp(device=device)
        step = net.step(training=True)
        del step
        assert not net.arenas._free


class TestScratch:
    def test_requests_of_one_call_are_apart_and_calls_share(self, device):
        scratch = Scratch(device, "float32")
        a, b = scratch.empty((2, 3), "float32"), scratch.empty((2, 3), "float32")
        with device.use():
            a.fill(1)
            b.fill(2)
        assert device.get(a).max() == 1
        scratch.taken = 0
        assert address(device, scratch.empty((2, 3), "float32")) == address(device, a)

    @pytest.mark.parametrize(
        ("shape", "dtype"),
        [((6,), "float32"), ((2, 2), "float64"), ((5,), "bool"), ((), "float32"), ((0, 3), "float32")],
        ids=str,
    )
    def test_one_block_serves_every_shape_and_dtype_that_fits(self, device, shape, dtype):
        scratch = Scratch(device, "float32")
        place = address(device, scratch.empty((2, 3), "float64"))
        scratch.taken = 0
        with allocations(device) as made:
            a = scratch.empty(shape, dtype)
        assert (a.shape, a.dtype.name) == (shape, dtype)
        assert made.count == 0
        if a.size:
            assert address(device, a) == place

    def test_a_larger_request_makes_the_block_larger(self, device):
        scratch = Scratch(device, "float32")
        scratch.empty((2,), "float32")
        scratch.taken = 0
        large = scratch.empty((100,), "float32")
        scratch.taken = 0
        with allocations(device) as made:
            small = scratch.empty((2,), "float32")
        assert made.count == 0
        assert address(device, small) == address(device, large)


class TestResults:
    def test_a_new_vector_leaves_the_old_values_alone(self, device):
        results = Results(device, "float32", 2)
        values = [results.next() for _ in range(5)]
        with device.use():
            for n, value in enumerate(values):
                value.fill(n)
        assert [float(device.get(v)) for v in values] == [0, 1, 2, 3, 4]
