"""The losses against plain loops, closed forms and toy geometry."""

from __future__ import annotations

import dataclasses
import inspect
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hncse import losses, presets
from hncse.errors import HncseError
from tests.oracles import loss_oracle as oracle

MIXING = [name for name in presets.OWN_PRESETS if name != "three-view"]


def batch(n: int, d: int, seed: int = 0, noise: float = 0.5, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Two noisy views around shared directions, unnormalised, so that all of A, B and C occur."""
    g = torch.Generator().manual_seed(seed)
    centre = torch.randn(n, d, generator=g, dtype=dtype) + 1.5  # a common direction: anisotropic, as raw BERT is
    return [(centre + noise * torch.randn(n, d, generator=g, dtype=dtype)).requires_grad_() for _ in range(2)]


def circle(*degrees: float) -> Tensor:
    angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([angle.cos(), angle.sin()], dim=1)


def drawn_pairs(n: int, k: int, s: int, replacement: bool, seed: int = 0, step: int = 0) -> list[list[tuple[int, int]]]:
    k = min(k, n - 1)
    every = [(a, b) for a in range(k) for b in range(a + 1, k)]
    g = torch.Generator().manual_seed(seed * 1_000_003 + step)
    if replacement:
        draws = torch.randint(len(every), (n, s), generator=g)
    else:
        draws = torch.rand(n, len(every), generator=g).topk(min(s, len(every)), dim=1).indices
    return [[every[m] for m in row] for row in draws.tolist()]


def assert_same(value: Tensor, expected: Tensor, z: list[Tensor]) -> None:
    """Loss and gradients to 1e-10, relative to their size."""
    assert abs(float((value - expected).detach())) <= 1e-10 * max(1.0, abs(float(expected.detach())))
    got = torch.autograd.grad(value, z)
    want = torch.autograd.grad(expected, z)
    for a, b in zip(got, want, strict=True):
        assert float((a - b).abs().max()) <= 1e-10 * max(1.0, float(b.abs().max()))


@pytest.mark.parametrize(("n", "d"), [(2, 3), (3, 5), (8, 4), (13, 16)])
def test_simcse_equals_the_loop(n: int, d: int) -> None:
    z = batch(n, d)
    assert_same(losses.build("simcse")(*z).loss, oracle.simcse(*z), z)


@pytest.mark.parametrize("columns", ["replace", "diagonal"])
@pytest.mark.parametrize(("n", "d", "noise"), [(2, 3, 0.5), (5, 4, 1.0), (9, 6, 0.3), (12, 8, 2.0)])
def test_pm_fixed_equals_the_loop(n: int, d: int, noise: float, columns: str) -> None:
    z = batch(n, d, seed=n, noise=noise)
    value = losses.build("pm-fixed", ratio=0.3, columns=columns)(*z).loss
    assert_same(value, oracle.pm(*z, 1.0, 0.3, columns=columns), z)


def test_the_pm_batches_hold_all_three_cases() -> None:
    # Guards the test above: without rows in A, B and C it would prove little.
    seen = torch.zeros(3)
    for n, d, noise in [(5, 4, 1.0), (9, 6, 0.3), (12, 8, 2.0)]:
        out = losses.build("pm-fixed")(*batch(n, d, seed=n, noise=noise)).diagnostics
        seen += torch.tensor([float(out[f"case_{c}"]) for c in "abc"])
    assert (seen > 0).all(), seen


@pytest.mark.parametrize("preset", ["hnm-as-released", "hnm-no-replacement"])
@pytest.mark.parametrize(("n", "k"), [(3, 10), (6, 3), (12, 10), (15, 10)])
def test_hnm_equals_the_loop(preset: str, n: int, k: int) -> None:
    z = batch(n, 7, seed=n)
    loss = losses.build(preset, k=k, s=9, alpha=0.3)
    pairs = drawn_pairs(n, k, 9, loss.options.replacement)
    assert_same(loss(*z).loss, oracle.hnm(*z, pairs, k, alpha=0.3), z)


def test_pm_as_released_draws_its_weights_from_0_to_2() -> None:
    z = batch(9, 6, seed=9, noise=0.3)
    loss = losses.build("pm-as-released", seed=5)
    w = (2 * torch.rand(2, generator=torch.Generator().manual_seed(5 * 1_000_003))).tolist()
    assert_same(loss(*z).loss, oracle.pm(*z, *w), z)


def test_joint_loss_equals_the_loop() -> None:
    z = batch(8, 6, seed=3, noise=0.4)
    loss = losses.build("pm+hnm", positive_mixing="fixed", ratio=0.5, s=7)
    pairs = drawn_pairs(8, 10, 7, replacement=False)
    n = 8
    expected = z[0].new_tensor(0.0)
    z3 = [oracle.mixed_positive(*z, j, 1.0, 0.5, 0.1) for j in range(n)]
    for i in range(n):
        top = oracle.hardest_list(*z, i, 10)
        others = [oracle.cos(z[0][i], z3[j]) for j in range(n) if j != i]
        others += [oracle.cos(z[0][i], 0.5 * z[1][top[a]] + 0.5 * z[1][top[b]]) for a, b in pairs[i]]
        expected = expected + oracle.nll(oracle.cos(z[0][i], z3[i]), others, 0.05) / n
    assert_same(loss(*z).loss, expected, z)


def test_three_view_is_two_simcse_terms() -> None:
    z1, z2 = batch(6, 5)
    z3 = batch(6, 5, seed=1)[0]
    value = losses.build("three-view")(z1, z2, z3).loss
    assert_same(value, oracle.simcse(z1, z2) + oracle.simcse(z2, z3), [z1, z2, z3])


@pytest.mark.parametrize("in_batch", [True, False])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize(("weight", "m"), [(0.0, 1), (1.5, 1), (0.7, 3)])
def test_mined_negatives_equal_the_loop(weight: float, m: int, grouped: bool, in_batch: bool) -> None:
    z1, z2 = batch(7, 5, seed=4)
    hard = batch(7 * m, 5, seed=9)[0].detach().view(7, m, 5).requires_grad_()
    groups, positives = [0, 1, 2, 0, 3, 2, 4], [10, 11, 12, 13, 0, 12, 14]  # 4's positive is anchor 0's sentence
    others = [
        [row[t] for t in range(m)]
        for row in ([5, 2, 1], [6, 6, 14], [2, 7, 8], [7, 13, 9], [0, 1, 2], [8] * 3, [9] * 3)
    ]
    lists = {"groups": groups, "positive_groups": positives, "negative_groups": others} if grouped else {}
    loss = losses.build("simcse", hard_negative_weight=weight, temperature=0.1, in_batch_negatives=in_batch)
    out = loss(z1, z2, negatives=hard if m > 1 else hard[:, 0], **{n: torch.tensor(v) for n, v in lists.items()})
    expected = oracle.simcse_with_negatives(
        z1, z2, [list(row) for row in hard], weight, 0.1, **lists, in_batch=in_batch
    )
    assert_same(out.loss, expected, [z1, z2, hard])
    own = [
        float(oracle.cos(z1[i], hard[i, t]).detach())
        for i in range(7)
        for t in range(m)
        if not grouped or others[i][t] not in (groups[i], positives[i])
    ]
    assert float(out.diagnostics["mined_similarity"]) == pytest.approx(sum(own) / len(own))


def test_without_any_negatives_and_with_nothing_to_mix_is_refused() -> None:
    z1, z2 = batch(4, 5)
    with pytest.raises(HncseError, match="no negatives at all"):
        losses.build("simcse", in_batch_negatives=False)(z1, z2)
    with pytest.raises(HncseError, match="nothing to mix"):
        losses.build("hnm-no-replacement", in_batch_negatives=False)


def test_mined_negatives_join_mixes_and_weight_counts_copies() -> None:
    z1, z2 = batch(6, 8)
    hard = batch(6, 8, seed=5)[0]
    tau = 0.05
    plain = losses.build("hnm-no-replacement")(z1, z2)
    both = losses.build("hnm-no-replacement", hard_negative_weight=3.0)(z1, z2, negatives=hard)
    assert float(both.loss) > float(plain.loss)
    # weight log 2 is the own negative standing there twice
    twice = losses.build("simcse", hard_negative_weight=math.log(2))(z1, z2, negatives=hard).loss
    once = losses.build("simcse")(z1, z2, negatives=hard)
    logits = torch.cat([F.cosine_similarity(z1[:, None], z[None], dim=-1) for z in (z2, hard)], dim=1) / tau
    own = logits[:, 6:].diagonal()[:, None]
    expected = F.cross_entropy(torch.cat([logits, own], dim=1), torch.arange(6))
    assert float(twice) == pytest.approx(float(expected)) and float(once.loss) < float(twice)


@pytest.mark.parametrize("preset", ["simcse", "pm-fixed", "hnm-no-replacement"])
def test_copies_of_a_sentence_are_not_negatives(preset: str) -> None:
    z = batch(7, 5, seed=4)
    groups = [0, 1, 2, 0, 3, 2, 4]
    loss = losses.build(preset, **({"s": 6} if "hnm" in preset else {}))
    value = loss(*z, groups=torch.tensor(groups)).loss
    expected = {
        "simcse": lambda: oracle.simcse(*z, groups=groups),
        "pm-fixed": lambda: oracle.pm(*z, 1.0, 0.2, groups=groups),
        "hnm-no-replacement": lambda: oracle.hnm(*z, drawn_pairs(7, 10, 6, False), 10, groups=groups),
    }[preset]()
    assert_same(value, expected, z)


@pytest.mark.parametrize("objective", ["released", "cross-entropy", "margin"])
def test_search_takes_the_best_of_all_candidates(objective: str) -> None:
    z1, z2 = batch(10, 6, seed=2, noise=0.3)
    loss = losses.build("pm-intended", objective=objective, candidates=17)
    angle = math.radians(float(loss(z1, z2).diagnostics["mix_angle"]))
    thetas = [math.pi / 2 * t / 16 for t in range(17)]

    def score(theta: float) -> float:
        w1, w2 = math.cos(theta), math.sin(theta)
        if objective == "released":
            return oracle.released_objective(z1, z2, w1, w2)
        if objective == "cross-entropy":
            return float(oracle.pm(z1, z2, w1, w2))
        z3 = [oracle.mixed_positive(z1, z2, j, w1, w2, 0.1) for j in range(10)]
        s = [[float(oracle.cos(z1[i], z3[j])) for j in range(10)] for i in range(10)]
        return -sum(s[i][i] - max(s[i][j] for j in range(10) if j != i) for i in range(10)) / 10

    values = [score(theta) for theta in thetas]
    assert score(angle) == pytest.approx(min(values), rel=1e-9, abs=1e-9)
    assert max(values) - min(values) > 1e-3  # the search had something to choose


def test_search_does_not_depend_on_its_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    z = batch(10, 6, seed=2, noise=0.3)
    whole = losses.build("pm-intended")(*z)
    monkeypatch.setattr("hncse.mixing._CHUNK", 150)
    parts = losses.build("pm-intended")(*z)
    assert float(whole.loss) == pytest.approx(float(parts.loss), rel=1e-12)
    assert float(whole.diagnostics["mix_angle"]) == float(parts.diagnostics["mix_angle"])


def test_cross_entropy_rises_with_mixing_in_case_a() -> None:
    # Why PM's "search" objective is not the training loss: minimising the loss itself would never mix.
    z1, z2 = circle(0, 90, 180, 270), circle(20, 68, 203, 250)
    loss = losses.build("pm-intended", objective="cross-entropy", band=1.0)
    assert float(loss(z1, z2).diagnostics["mix_angle"]) == 0.0


# --- closed forms -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 8, 64])
def test_equal_embeddings_give_log_n(n: int) -> None:
    z = torch.ones(n, 5)
    assert float(losses.build("simcse")(z, z).loss) == pytest.approx(math.log(n), abs=1e-6)
    assert float(losses.build("pm-intended")(z, z).loss) == pytest.approx(math.log(n), abs=1e-6)


@pytest.mark.parametrize("n", [3, 12, 64])
def test_equal_embeddings_give_log_n_plus_s_for_hnm(n: int) -> None:
    z = torch.ones(n, 5)
    assert float(losses.build("hnm-as-released")(z, z).loss) == pytest.approx(math.log(n + 40), abs=1e-5)


def test_orthogonal_negatives_have_a_closed_form() -> None:
    z = torch.eye(4, dtype=torch.float64)
    expected = math.log(1 + 3 * math.exp(-20))
    assert float(losses.build("simcse")(z, z).loss) == pytest.approx(expected, rel=1e-9)
    # mixes of two orthogonal negatives are orthogonal to the anchor too: 3 distinct pairs
    out = losses.build("hnm-no-replacement")(z, z)
    assert float(out.loss) == pytest.approx(math.log(1 + 6 * math.exp(-20)), rel=1e-9)
    assert float(out.diagnostics["mix_hardness"]) == pytest.approx(0.0, abs=1e-12)


def test_pm_is_simcse_when_every_anchor_is_safe() -> None:
    z1, z2 = circle(0, 90, 180, 270), circle(5, 95, 185, 275)
    out = losses.build("pm-intended")(z1, z2)
    assert float(out.diagnostics["case_b"]) == 1.0
    assert float(out.loss) == pytest.approx(float(losses.build("simcse")(z1, z2).loss), rel=1e-12)


def test_without_replacement_all_mixes_of_a_row_differ() -> None:
    for row in drawn_pairs(20, 10, 40, replacement=False):
        assert len(set(row)) == 40
    mean = sum(len(set(row)) for row in drawn_pairs(2000, 10, 40, replacement=True)) / 2000
    assert mean == pytest.approx(45 * (1 - (44 / 45) ** 40), abs=0.3)  # 26.7 distinct mixes as released


# --- toy geometry: angles on a circle ---------------------------------------------------------------------------


def test_cases_and_hardest_negatives_known_by_eye() -> None:
    #        A: n nearly p      B: far from all     C: nearer to 0's positive than to its own
    z1 = circle(0, 180, 25)
    z2 = circle(10, 180, 80)
    diagnostics = losses.build("pm-fixed")(z1, z2).diagnostics
    cos = [math.cos(math.radians(a)) for a in range(361)]
    # anchor 0: p = cos 10, n = cos 80 → B; anchor 1: p = 1, n = cos 100 → B; anchor 2: p = cos 55 < n = cos 15 → C
    assert float(diagnostics["case_b"]) == pytest.approx(2 / 3)
    assert float(diagnostics["case_c"]) == pytest.approx(1 / 3)
    assert float(diagnostics["positive_similarity"]) == pytest.approx((cos[10] + 1 + cos[55]) / 3)
    assert float(diagnostics["hardest_negative_similarity"]) == pytest.approx((cos[80] + cos[100] + cos[15]) / 3)
    assert float(diagnostics["ranked_first"]) == pytest.approx(2 / 3)
    assert float(diagnostics["margin_p50"]) == pytest.approx(cos[10] - cos[80])


def test_hnm_mixes_halfway_between_two_negatives() -> None:
    # anchor 0 at 0°; its negatives lie at +60° and -60°, so their mix lies on the anchor itself: cosine 1
    z1, z2 = circle(0, 60, -60), circle(0, 60, -60)
    out = losses.build("hnm-no-replacement")(z1, z2)
    # anchors 1 and 2: negatives at 60° and 120° away, mix 90° away: cosine 0
    assert float(out.diagnostics["mix_hardness"]) == pytest.approx(1 / 3, abs=1e-12)


def test_loss_falls_when_the_hardest_negative_moves_away() -> None:
    z1 = circle(0, 120, 240)
    near = losses.build("hnm-no-replacement")(z1, circle(0, 30, 240)).loss
    far = losses.build("hnm-no-replacement")(z1, circle(0, 90, 240)).loss
    assert far < near


# --- invariances ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", MIXING)
def test_permutation_equivariance(preset: str) -> None:
    z1, z2 = batch(12, 5, seed=6)
    options = {"k": 3, "s": 3} if "hnm" in preset else {}
    options |= {"replacement": False} if "hnm" in preset else {}  # all 3 pairs of 3: no luck left in the draw
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    one = losses.build(preset, **options)(z1, z2)
    two = losses.build(preset, **options)(z1[order], z2[order])
    assert float(one.loss) == pytest.approx(float(two.loss), rel=1e-10)
    for name, value in one.diagnostics.items():
        assert float(value) == pytest.approx(float(two.diagnostics[name]), rel=1e-9), name


@pytest.mark.parametrize("preset", MIXING)
def test_scaling_every_vector_alike_changes_nothing(preset: str) -> None:
    z1, z2 = batch(12, 5, seed=6)
    one = losses.build(preset)(z1, z2).loss
    two = losses.build(preset)(3.7 * z1, 0.2 * z2).loss
    assert float(one) == pytest.approx(float(two), rel=1e-10)


@pytest.mark.parametrize("preset", MIXING)
@pytest.mark.parametrize("n", [4, 11])
def test_gradcheck(preset: str, n: int) -> None:
    z = batch(n, 4, seed=1, noise=0.8)

    def value(z1: Tensor, z2: Tensor) -> Tensor:
        loss = losses.build(preset, temperature=0.5, detach_coefficients=False)
        if preset == "pm-intended":  # the chosen angle jumps; hold it to check the rest
            loss = losses.build("pm-fixed", temperature=0.5)
        return loss(z1, z2).loss

    assert torch.autograd.gradcheck(value, z, eps=1e-6, atol=1e-6)


def test_detach_options_stop_the_gradients_they_name() -> None:
    z = batch(12, 8, seed=12, noise=2.0)  # has rows in case C
    free = losses.build("pm-fixed")(*z).loss
    held = losses.build("pm-fixed", detach_coefficients=True)(*z).loss
    assert float(free) == pytest.approx(float(held), rel=1e-12)
    grads = [torch.autograd.grad(x, z) for x in (free, held)]
    assert not torch.allclose(grads[0][0], grads[1][0])
    for preset in ("hnm-no-replacement", "pm-fixed"):
        free = losses.build(preset)(*z).loss
        held = losses.build(preset, detach_negatives=True)(*z).loss
        assert float(free) == pytest.approx(float(held), rel=1e-12)
        assert not torch.allclose(torch.autograd.grad(free, z)[1], torch.autograd.grad(held, z)[1])


def test_detached_hnm_equals_the_loop_with_detached_mixes() -> None:
    z1, z2 = batch(6, 5, seed=8)
    value = losses.build("hnm-no-replacement", s=4, detach_negatives=True)(z1, z2).loss
    pairs = drawn_pairs(6, 10, 4, False)
    expected = z1.new_tensor(0.0)
    for i in range(6):
        top = oracle.hardest_list(z1, z2, i, 10)
        others = [oracle.cos(z1[i], z2[j]) for j in range(6) if j != i]
        others += [oracle.cos(z1[i], (0.5 * z2[top[a]] + 0.5 * z2[top[b]]).detach()) for a, b in pairs[i]]
        expected = expected + oracle.nll(oracle.cos(z1[i], z2[i]), others, 0.05) / 6
    assert_same(value, expected, [z1, z2])


@settings(max_examples=60, deadline=None)
@given(
    preset=st.sampled_from(MIXING), n=st.integers(1, 17), d=st.integers(1, 9), k=st.integers(1, 20),
    s=st.integers(1, 50), seed=st.integers(0, 1000),
)  # fmt: skip
def test_any_shape_gives_a_finite_loss_and_gradient(preset: str, n: int, d: int, k: int, s: int, seed: int) -> None:
    z = batch(n, d, seed=seed)
    out = losses.build(preset, k=k, s=s)(*z)
    assert math.isfinite(float(out.loss))
    for grad in torch.autograd.grad(out.loss, z):
        assert torch.isfinite(grad).all()
    fractions = [float(out.diagnostics[f"case_{c}"]) for c in "abc"]
    assert sum(fractions) == pytest.approx(1.0)


# --- edges ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", MIXING)
def test_one_sentence_has_nothing_to_learn_from(preset: str) -> None:
    z = batch(1, 4)
    out = losses.build(preset)(*z)
    assert float(out.loss) == pytest.approx(0.0, abs=1e-12)
    assert float(torch.autograd.grad(out.loss, z[0])[0].abs().max()) < 1e-9


def test_two_sentences_leave_hnm_no_pair_to_mix() -> None:
    z = batch(2, 4)
    assert float(losses.build("hnm-as-released")(*z).loss) == pytest.approx(float(losses.build("simcse")(*z).loss))


def test_k_above_n_minus_1_never_mixes_the_positive() -> None:
    # as released, N = 10 makes every anchor's own positive one of its ten "hardest negatives"
    z = torch.eye(10, dtype=torch.float64)
    assert float(losses.build("hnm-as-released", k=10)(z, z).diagnostics["mix_hardness"]) == pytest.approx(
        0.0, abs=1e-12
    )


@pytest.mark.parametrize("preset", MIXING)
def test_zero_vectors_stay_finite(preset: str) -> None:
    z1, z2 = (z.detach().clone() for z in batch(6, 4, dtype=torch.float32))
    z1[0], z2[1], z2[2] = 0, 0, 0
    z1.requires_grad_(), z2.requires_grad_()
    out = losses.build(preset)(z1, z2)
    out.loss.backward()
    assert torch.isfinite(out.loss) and torch.isfinite(z1.grad).all() and torch.isfinite(z2.grad).all()


@pytest.mark.parametrize("preset", MIXING)
def test_half_precision_input_is_computed_in_float32(preset: str) -> None:
    z = [x.detach() for x in batch(16, 8, dtype=torch.float32)]
    half = [x.bfloat16() for x in z]
    exact = losses.build(preset)(*[x.float() for x in half])
    got = losses.build(preset)(*half)
    assert got.loss.dtype == torch.float32
    assert float(got.loss) == float(exact.loss)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = losses.build(preset)(*half)
    assert float(under.loss) == float(exact.loss)


def test_the_same_step_draws_the_same_mixes() -> None:
    z = batch(20, 6)
    one, two = losses.build("hnm-as-released"), losses.build("hnm-as-released")
    first = [float(one(*z).loss) for _ in range(3)]
    assert len(set(first)) == 3
    two.step = 2
    assert float(two(*z).loss) == first[2]


def test_build_shows_every_option_with_its_type_and_default() -> None:
    shown = inspect.signature(losses.build).parameters
    assert list(shown) == ["preset", *presets.OPTION_NAMES]
    defaults = {name: p.default for name, p in shown.items() if name != "preset"}
    assert defaults == dataclasses.asdict(presets.LossOptions())
    assert shown["k"].annotation is int and shown["k"].kind is inspect.Parameter.KEYWORD_ONLY


def test_an_option_that_is_not_named_stays_the_presets() -> None:
    options = losses.build("hnm-no-replacement", k=5).options
    assert (options.k, options.s, options.replacement, options.hard_negative_mixing) == (5, 40, False, True)
    assert losses.build("hnm-no-replacement", replacement=True).options.replacement is True


def test_the_study_draws_near_the_optimum_half_of_the_time_and_anywhere_else_otherwise() -> None:
    z1 = torch.randn(24, 8, generator=torch.Generator().manual_seed(0)).double() + 3  # anisotropic: case A is common
    z2 = z1 + 0.8 * torch.randn(24, 8, generator=torch.Generator().manual_seed(1)).double()
    best = float(losses.build("pm-intended", band=0.5)(z1, z2).diagnostics["mix_angle"])
    study = losses.build("pm-as-released", positive_mixing="study", band=0.5)
    drawn = torch.tensor([float(study(z1, z2).diagnostics["mix_angle"]) for _ in range(400)])
    near = (drawn - best).abs() <= 5.0001
    assert 0.5 < float(near.float().mean()) < 0.68  # a half, and the few of the rest that fall there
    assert float(drawn[~near].min()) < 15 and float(drawn[~near].max()) > 75


# --- errors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "options", "message"),
    [
        ("simsce", {}, "Did you mean 'simcse'"),
        ("hnm", {}, "hnm"),
        ("simcse", {"temprature": 1}, "Did you mean 'temperature'"),
        ("simcse", {"temperature": 0}, "above 0"),
        ("simcse", {"temperature": -1.0}, "above 0"),
        ("simcse", {"temperature": float("nan")}, "above 0"),
        ("hnm-as-released", {"k": 0}, "at least 1"),
        ("hnm-as-released", {"s": 2.5}, "whole number"),
        ("hnm-as-released", {"alpha": 1.2}, r"\[0, 1\]"),
        ("pm-intended", {"objective": "best"}, "cross-entropy"),
        ("pm-fixed", {"ratio": -1}, "0 or more"),
        ("three-view", {"hard_negative_mixing": True}, "three-view"),
        ("simcse", {"hard_negative_weight": None}, "hard_negative_weight is None"),
        ("simcse", {"hard_negative_weight": float("inf")}, "it must be a number"),
        ("hnm-as-released", {"replacement": "no"}, "True or False"),
        ("simcse", {"views": True}, "one of 2, 3"),
        ("pm-fixed", {"band": float("inf")}, "0 or more"),
        ("simcse", {"seed": 1.5}, "whole number"),
    ],
)
def test_bad_options_say_what_would_be_right(preset: str, options: dict, message: str) -> None:
    with pytest.raises(HncseError, match=message):
        losses.build(preset, **options)


def test_bad_embeddings_say_what_was_seen() -> None:
    loss = losses.build("simcse")
    z = torch.randn(4, 3)
    broken = z.clone()
    broken[2, 1] = torch.nan
    with pytest.raises(HncseError, match="z1 is a ndarray"):
        loss(z.numpy(), z.numpy())
    with pytest.raises(HncseError, match="z2 is a list"):
        loss(z, z.tolist())
    with pytest.raises(HncseError, match="1 of 4 rows of z2 hold NaN or infinity, first row 2"):
        loss(z, broken)
    with pytest.raises(HncseError, match=r"z2 has shape \(3, 3\)"):
        loss(z, z[:3])
    with pytest.raises(HncseError, match="z1 has shape"):
        loss(z[:0], z[:0])
    with pytest.raises(HncseError, match="takes 2 views, 3"):
        loss(z, z, z)
    with pytest.raises(HncseError, match="takes 3 views, 2"):
        losses.build("three-view")(z, z)
    four, row = torch.arange(4), torch.zeros(3, dtype=torch.long)
    for named, text in (
        ({"groups": row}, r"groups has shape \(3,\); it must be \(4,\)"),
        ({"groups": four, "positive_groups": row}, "positive_groups has shape"),
        ({"groups": four, "negatives": z, "negative_groups": row}, "negative_groups has shape"),
        ({"groups": four, "negative_groups": four}, "no mined negatives"),
        ({"positive_groups": four}, "without groups"),
    ):
        with pytest.raises(HncseError, match=text):
            loss(z, z, **named)
    with pytest.raises(HncseError, match=r"negatives has shape \(3, 1, 3\)"):
        loss(z, z, negatives=z[:3])
    with pytest.raises(HncseError, match="1 of 4 rows of negatives hold NaN"):
        loss(z, z, negatives=broken)
    with pytest.raises(HncseError, match="three-view loss takes no mined negatives"):
        losses.build("three-view")(z, z, z, negatives=z)
