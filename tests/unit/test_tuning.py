"""Tuning: what is tried, which winner is taken, the file of choices, and what a tuned network is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import cnngen
from cnngen import pipeline, tuning
from cnngen.backends.cpu import cost
from cnngen.backends.cpu.choices import Choice, Choices, layer_key
from cnngen.backends.cpu.kernels import ConvKernel, WinogradKernel
from cnngen.backends.cpu.plan import plan_graph
from cnngen.backends.cpu.target import ISAS, Target
from cnngen.errors import PlanError, TargetError, TuningError
from cnngen.ir import Graph
from cnngen.ops import Activation, Conv2D, Dense
from cnngen.tuning import cpu, whole
from cnngen.tuning.file import TuningFile
from cnngen.tuning.trials import key_of
from tests.graphs import Builder

AVX2 = Target(ISAS["avx2"])


def small() -> Graph:
    net = Builder((1, 6, 6, 8), name="small")
    net.add(Conv2D(8, (3, 3), padding=(1, 1, 1, 1), activation=Activation("relu")))
    net.add(Conv2D(8, (3, 3), padding=(1, 1, 1, 1), activation=Activation("relu")))
    return net.graph()


class TestWinner:
    def test_the_plan_wins_ties_within_noise(self) -> None:
        rng = np.random.default_rng(0)
        assert cpu.winner(1 + 0.02 * rng.random((31, 4))) == 0
        assert cpu.winner(np.tile([1.0, 0.98, 0.99], (31, 1))) == 0

    def test_what_is_clearly_faster_is_taken(self) -> None:
        rng = np.random.default_rng(0)
        assert cpu.winner(np.array([1.0, 0.9, 0.7, 1.2]) + 0.05 * rng.random((31, 4))) == 2

    def test_a_low_median_is_not_enough(self) -> None:
        times = np.ones((30, 2))
        times[:18, 1], times[18:, 1] = 0.5, 1.5
        assert cpu.winner(times) == 0


class TestChoices:
    def test_json_and_back(self) -> None:
        for choice in (
            Choice("direct", vectors=2, pixels=6),
            Choice("winograd", tile=(4, 4), block=28),
            Choice("planar"),
        ):
            assert Choice.from_json(json.loads(json.dumps(choice.as_json()))) == choice

    @pytest.mark.parametrize(
        "fields",
        [{}, {"algorithm": "magic"}, {"algorithm": "direct", "vectors": "2"}, {"algorithm": "direct", "rows": 3}]
        + [{"algorithm": "direct", "vectors": value} for value in (-1, True, 1.5, 1 << 40)]
        + [{"algorithm": "winograd", "tile": tile} for tile in (4, "4", "4x", "-2x2", "2x2x2", "4x4000")],
    )
    def test_what_is_no_choice(self, fields: dict[str, object]) -> None:
        with pytest.raises(PlanError):
            Choice.from_json(fields)

    def test_layers_that_compute_something_else_have_other_keys(self) -> None:
        image, out = (1, 8, 8, 4), (1, 8, 8, 4)
        same = Conv2D(4, (3, 3), padding=(1, 1, 1, 1))
        ops = [
            same,
            Conv2D(4, (3, 3), padding=(1, 1, 1, 1), use_bias=False),
            Conv2D(4, (3, 3), padding=(1, 1, 1, 1), residual=True),
            Conv2D(4, (3, 3), padding=(2, 0, 1, 1)),
            Conv2D(4, (3, 3), padding=(2, 2, 2, 2), dilation=(2, 2)),
            Conv2D(4, (3, 3), padding=(1, 1, 1, 1), groups=2),
            Conv2D(4, (3, 3), padding=(1, 1, 1, 1), activation=Activation("relu")),
            Conv2D(4, (3, 3), padding=(1, 1, 1, 1), activation=Activation("leaky_relu", 0.1)),
            Conv2D(4, (3, 3), padding=(1, 1, 1, 1), activation=Activation("leaky_relu", 0.2)),
            Dense(4),
        ]
        assert len({layer_key(op, image, out) for op in ops}) == len(ops)
        assert layer_key(same, image, out) != layer_key(same, (2, *image[1:]), (2, *out[1:]))
        assert layer_key(same, image, out) == layer_key(Conv2D(4, (3, 3), padding=(1, 1, 1, 1)), image, out)


class TestPlan:
    def test_choices_are_followed(self) -> None:
        graph = small()
        key = key_of(graph, graph.nodes[0])
        assert key == key_of(graph, graph.nodes[1])

        def kernel(choice: Choice) -> object:
            plan = plan_graph(graph, Target(ISAS["avx2"], choices=Choices.of({key: choice})))
            (found,) = {call.kernel for call in (plan.steps[i].calls[-1] for i in plan.steps_of(graph.nodes[1].name))}
            return found

        four = kernel(Choice("winograd", tile=(4, 4), block=3))
        assert isinstance(four, WinogradKernel)
        assert (four.tile, four.block) == ((4, 4), 3)
        two = kernel(Choice("winograd", tile=(2, 2)))
        assert isinstance(two, WinogradKernel)
        assert two.tile == (2, 2)
        tiled = kernel(Choice("direct", vectors=1, pixels=3, row=6))
        assert isinstance(tiled, ConvKernel)
        assert {strip.pixels for block in tiled.blocks for strip in block.strips} == {3}
        crossing = kernel(Choice("direct", vectors=1, row=36))
        assert isinstance(crossing, ConvKernel)
        assert len(crossing.pixels) == 36

    def test_what_cannot_be_is_said(self) -> None:
        graph = small()
        key = key_of(graph, graph.nodes[0])
        for target in (
            Target(ISAS["avx2"], choices=Choices.of({key: Choice("planar")})),
            Target(ISAS["avx2"], reproducible=True, choices=Choices.of({key: Choice("winograd", tile=(4, 4))})),
            Target(ISAS["avx2"], choices=Choices.of({key: Choice("winograd", tile=(3, 3))})),
        ):
            with pytest.raises(PlanError, match="tune again"):
                plan_graph(graph, target)

    def test_candidates_differ_in_their_code(self) -> None:
        net = Builder((1, 28, 28, 32), name="candidates")
        net.add(Conv2D(48, (3, 3), padding=(1, 1, 1, 1)))
        graph = net.graph()
        planned, others = cpu.candidates(graph, graph.nodes[0], AVX2)
        assert planned not in others
        tried = [planned, *others]
        assert {choice.algorithm for choice in tried} >= {"direct", "winograd"}
        assert {choice.tile for choice in tried} >= {(0, 0), (2, 2), (4, 4)}
        assert len({choice.vectors for choice in tried}) > 2


class TestCost:
    def test_alternatives_are_ranked(self) -> None:
        op = Conv2D(64, (3, 3), padding=(1, 1, 1, 1))
        ways = cost.alternatives(op, (1, 56, 56, 64), (1, 56, 56, 64), AVX2)
        seconds = [way.estimate.seconds for way in ways]
        assert seconds == sorted(seconds)
        assert [way.choice.algorithm for way in ways].count("winograd") == 4

    def test_the_limit_is_named(self) -> None:
        dense = cost.fastest(Dense(4096), (1, 1, 1, 9216), (1, 1, 1, 4096), AVX2).estimate
        assert dense.limit == "memory"
        # Nothing is faster than reading the weights once.
        assert dense.seconds > 4 * 4096 * 9216 / (1e9 * AVX2.machine.memory_rate)
        conv = cost.fastest(Conv2D(256, (3, 3), dilation=(2, 2)), (1, 32, 32, 256), (1, 28, 28, 256), AVX2).estimate
        assert conv.limit == "FMA"
        assert conv.seconds > 2 * 9 * 256 * 256 * 28 * 28 / (1e9 * AVX2.machine.peak)

    def test_slow_memory_speaks_against_larger_weights(self) -> None:
        op, image = Conv2D(512, (3, 3), padding=(1, 1, 1, 1)), (1, 7, 7, 512)
        slow = AVX2.machine._replace(memory_rate=1.0, l3_bytes=1 << 20)
        chosen = cost.fastest(op, image, image, Target(ISAS["avx2"], given_machine=slow)).choice
        assert chosen.algorithm == "direct"


class TestFile:
    def test_entries_of_others_stay(self, tmp_path: Path) -> None:
        one, two = TuningFile(tmp_path / "t.json"), TuningFile(tmp_path / "t.json")
        one.add("a", "layer", {"choice": {"algorithm": "direct"}})
        two.add("b", "layer", {"choice": {}})
        again = TuningFile(tmp_path / "t.json")
        assert again.find("a", "layer") == {"algorithm": "direct"}
        assert again.find("b", "layer") == {}
        assert again.find("b", "other") is None

    @pytest.mark.parametrize(
        "text",
        [
            *("", "[]", "{", '{"cnngen_tuning": 99}', '{"cnngen_tuning": 1, "devices": {"a": 1}}'),
            '{"cnngen_tuning": 1, "devices": {}, "networks": {"a": {"b": {"faster": 1}}}}',
        ],
    )
    def test_what_is_no_such_file(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "t.json").write_text(text)
        with pytest.raises(TuningError, match=r"t\.json.*delete it"):
            TuningFile(tmp_path / "t.json")

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(TuningError, match="name another file"):
            TuningFile(tmp_path / "no" / "t.json").add("a", "b", {"choice": {}})


class TestNetwork:
    def test_tuned_resumed_and_from_the_cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cpu, "ROUNDS", (2, 3))
        file = tmp_path / "t.json"
        graph = small()
        options = {"isa": "sse4.1", "threads": 1}
        asked = [tuning.tuned_choices(graph, file, seconds=seconds, **options) for seconds in (0.0, 60.0)]
        assert [found.complete for found in asked] == [False, True]
        assert not asked[0].choices
        (entry,) = json.loads(file.read_text())["devices"][asked[1].device].values()
        assert entry["planned_microseconds"] >= entry["microseconds"] > 0
        assert entry["measured"] > 1

        def never(*_: object) -> None:
            raise AssertionError("measured again")

        monkeypatch.setattr(cpu, "measure", never)
        assert tuning.tuned_choices(graph, file, **options) == asked[1]
        # Whatever won is what is compiled, and right.
        monkeypatch.setattr(whole, "compare", lambda *_, **__: {"faster": True})
        (key,) = asked[1].choices
        TuningFile(file).add(asked[1].device, key, {"choice": Choice("winograd", tile=(2, 2), block=3).as_json()})
        with cnngen.compile(graph, tune=file, **options) as net:
            assert {net.arithmetic(node.name).tile for node in net.graph.nodes} == {(2, 2)}
            assert cnngen.verify(net).ok
        TuningFile(file).add(asked[1].device, key, {"choice": {"algorithm": "direct", "vectors": 0.5}})
        with pytest.raises(TuningError, match="delete it from"):
            cnngen.compile(graph, tune=file, **options)

    def test_a_network_that_is_no_faster_stays_as_planned(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        graph, file = small(), tmp_path / "t.json"
        options = {"isa": "sse4.1", "threads": 1}
        device = cpu.device(pipeline.cpu_target_for(graph, **options))
        choice = Choice("winograd", tile=(2, 2), block=3).as_json()
        TuningFile(file).add(device, key_of(graph, graph.nodes[0]), {"choice": choice})
        asked = []

        def compare(*arguments: object, **_: object) -> dict[str, object]:
            asked.append(arguments)
            return {"faster": False, "untuned_microseconds": 1.0, "tuned_microseconds": 1.1}

        monkeypatch.setattr(whole, "compare", compare)
        for _ in range(2):
            with cnngen.compile(graph, tune=file, **options) as net:
                assert net.plan.target.choices.items == ()
        assert len(asked) == 1, "the file knows it the second time"
        (entry,) = json.loads(file.read_text())["networks"][device].values()
        assert entry["faster"] is False
        # Other choices are another question.
        TuningFile(file).add(device, key_of(graph, graph.nodes[0]), {"choice": {**choice, "block": 2}})
        monkeypatch.setattr(whole, "compare", lambda *_, **__: {"faster": True})
        with cnngen.compile(graph, tune=file, **options) as net:
            assert net.plan.target.choices.items != ()
        assert len(json.loads(file.read_text())["networks"][device]) == 2

    def test_a_warm_start_keeps_the_verdict(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        spec, file = tmp_path / "one.yaml", tmp_path / "t.json"
        spec.write_text(
            "cnngen: 1\nname: one\ninput: {shape: [6, 6, 8]}\nweights: random\nlayers:\n"
            "  - conv2d: {name: y, filters: 8, kernel: 3, padding: same}\n"
        )
        options = {"isa": "sse4.1", "threads": 1}
        graph = pipeline.load_graph(spec)
        device = cpu.device(pipeline.cpu_target_for(graph, **options))
        choice = Choice("winograd", tile=(2, 2), block=3).as_json()
        TuningFile(file).add(device, key_of(graph, graph.node("y")), {"choice": choice})
        monkeypatch.setattr(whole, "compare", lambda *_, **__: {"faster": False})
        for _ in range(2):
            with cnngen.compile(spec, tune=file, **options) as net:
                assert net.arithmetic("y").tile is None

    def test_nothing_is_measured_in_no_time(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        graph, file = small(), tmp_path / "t.json"
        options = {"isa": "sse4.1", "threads": 1}
        device = cpu.device(pipeline.cpu_target_for(graph, **options))
        key = key_of(graph, graph.nodes[0])
        TuningFile(file).add(device, key, {"choice": Choice("winograd", tile=(2, 2), block=3).as_json()})

        def never(*_: object, **__: object) -> None:
            raise AssertionError("measured")

        monkeypatch.setattr(whole, "compare", never)
        tuned = tuning.tuned_choices(graph, file, seconds=0, **options)
        assert (list(tuned.used), tuned.complete) == ([key], False)

    def test_both_networks_are_measured(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(whole, "ROUNDS", 3)
        monkeypatch.setattr(whole, "SLICE_SECONDS", 1e-4)
        graph = small()
        choices = {key_of(graph, graph.nodes[0]): Choice("winograd", tile=(2, 2), block=3).as_json()}
        planned = []
        made = whole.plan_graph
        monkeypatch.setattr(whole, "plan_graph", lambda *given: planned.append(made(*given)) or planned[-1])
        target = pipeline.cpu_target_for(graph, isa="sse4.1", threads=1)
        entry = whole.compare(graph, target, choices, pipeline.find_compiler())
        assert [plan.arithmetic(graph.nodes[0].name).tile for plan in planned] == [None, (2, 2)]
        assert entry["untuned_microseconds"] > 0 < entry["tuned_microseconds"]
        assert entry["faster"] in (True, False)

    def test_what_counts_as_faster(self) -> None:
        even = np.ones((9, 2))
        assert not whole.is_faster(even)
        assert not whole.is_faster(even * [1, 0.997])
        assert whole.is_faster(even * [1, 0.99])
        outlier = even * [1, 1.01]
        outlier[:3, 1] = 0.1
        assert not whole.is_faster(outlier), "a median"

    def test_other_targets_say_so(self, tmp_path: Path) -> None:
        with pytest.raises(TargetError, match="tuning is not available for cuda-emulated"):
            cnngen.compile(small(), target="cuda-emulated", tune=tmp_path / "t.json")

    def test_a_plan_takes_choices(self) -> None:
        graph = small()
        fields = Choice("winograd", tile=(4, 4), block=2).as_json()
        plan = pipeline.plan_for(graph, isa="sse4.1", threads=1, choices={key_of(graph, graph.nodes[0]): fields})
        assert plan.arithmetic(graph.nodes[0].name).tile == (4, 4)
