"""HNM's relatives: equal to plain loops, closed forms, identities between them, and what they compose with."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from hncse import losses, presets
from hncse.errors import HncseError
from hncse.losses import relatives
from tests.oracles import loss_oracle
from tests.oracles import relatives_oracle as oracle
from tests.test_losses import assert_same, batch

RELATIVES = [name for name in presets.PRESETS if name not in presets.OWN_PRESETS]
GROUPS = [0, 1, 2, 0, 3, 4, 1, 5]


GUIDED = [name for name in RELATIVES if presets.PRESETS[name].needs_guide]


def asked(preset: str, n: int, d: int = 5) -> dict[str, Tensor]:
    """What a loss takes beside its views: a guide, where it asks one."""
    return {"guide": batch(n, d, seed=11)[0].detach()} if preset in GUIDED else {}


def gradient(loss: Tensor, z: list[Tensor]) -> Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, z)])


@pytest.mark.parametrize("groups", [None, GROUPS])
@pytest.mark.parametrize("tau", [0.05, 0.3])
@pytest.mark.parametrize(
    ("options", "loop", "values"),
    [
        ({"hardness": 9.0}, oracle.hardness, (9.0,)),
        ({"denominator": "decoupled"}, oracle.decoupled, ()),
        ({"denominator": "debiased", "prior": 0.1}, oracle.debiased, (0.1,)),
        ({"denominator": "debiased", "prior": 0.01}, oracle.debiased, (0.01,)),
        ({"denominator": "debiased"}, oracle.debiased, (0.0,)),
        ({"focal": 0.3}, oracle.focal, (0.3,)),
        ({"angular_margin": 10.0}, oracle.arccon, (10.0,)),
        ({"orthogonality": 0.7}, oracle.gor, (0.7,)),
        ({"mixed_negative": 0.2, "detach_negatives": True}, oracle.mixcse, (0.2,)),
    ],
)
def test_a_relative_equals_its_loop(options, loop, values, tau: float, groups: list[int] | None) -> None:
    z = batch(8, 6)
    given = {} if groups is None else {"groups": torch.tensor(groups)}
    out = losses.build("simcse", temperature=tau, **options)(*z, **given)
    assert_same(out.loss, loop(*z, *values, tau, groups=groups), z)


@pytest.mark.parametrize("prior", [0.0, 0.05])
@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_hcl_equals_its_loop(beta: float, prior: float) -> None:
    z = batch(8, 6)
    out = losses.build("hcl", temperature=0.2, beta=beta, prior=prior)(*z)
    assert_same(out.loss, oracle.debiased(*z, prior, 0.2, beta), z)


@pytest.mark.parametrize("groups", [None, GROUPS, [0] * 7 + [1]])
@pytest.mark.parametrize(("options", "sign"), [({"anchor_mixes": 5}, 1), ({"extrapolations": 5}, -1)])
def test_mixes_with_the_anchor_equal_the_loop(options, sign: int, groups: list[int] | None) -> None:
    z = batch(8, 6)
    loss = losses.build("simcse", k=3, temperature=0.1, **options)
    g = loss.generator()
    beta = sign * torch.rand(8, 5, generator=g).double() / 2
    have = torch.tensor([min(3, len(loss_oracle.negatives_of(i, 8, groups))) for i in range(8)])[:, None].clamp_min(1)
    slot = (torch.rand(8, 5, generator=g).double() * have).long()
    given = {} if groups is None else {"groups": torch.tensor(groups)}
    assert_same(loss(*z, **given).loss, oracle.anchor_mixes(*z, beta, slot, 3, 0.1, groups), z)


def test_every_relative_trains_refuses_bad_embeddings_and_survives_a_batch_without_negatives() -> None:
    for preset in RELATIVES:
        z = batch(12, 8, dtype=torch.float32)
        assert torch.isfinite(gradient(losses.build(preset)(*z, **asked(preset, 12)).loss, z)).all(), preset
        alone = losses.build(preset)(*batch(1, 8), **asked(preset, 1)).loss
        copies = losses.build(preset)(*batch(3, 8), groups=torch.zeros(3, dtype=torch.long), **asked(preset, 3)).loss
        assert torch.isfinite(alone) and torch.isfinite(copies), preset
        with pytest.raises(HncseError, match="NaN"):
            losses.build(preset)(torch.full((2, 3), torch.nan), torch.ones(2, 3), **asked(preset, 2))


def test_closed_forms() -> None:
    same = torch.ones(6, 4, dtype=torch.float64)  # every cosine is 1
    tau = 0.1
    apart = {"guide": torch.eye(6)}  # a guide for which no negative is false
    values = {
        name: float(losses.build(name, temperature=tau)(same, same, **apart if name in GUIDED else {}).loss)
        for name in RELATIVES
    }
    assert values["gist"] == pytest.approx(math.log(6))
    both = 10 * math.exp(1 / tau) + 2  # MixCSE's code: 6 + 6 mixes, one of each direction with logit 0
    assert values["mixcse-as-released"] == pytest.approx(math.log(6 * math.exp(1 / tau) + both) - 1 / tau)
    assert values["decoupled"] == pytest.approx(math.log(5))
    assert values["hardness"] == pytest.approx(math.log(1 + 5 * math.exp(9)))
    assert values["hcl"] == pytest.approx(math.log(6)) and values["mixcse"] == pytest.approx(math.log(7))
    assert values["debiased"] == pytest.approx(math.log(1 + (5 - 0.1 * 5) / 0.9))
    assert values["focal"] == pytest.approx(math.log(1 + 5 * math.exp(0.3 / tau)))
    assert values["mochi"] == pytest.approx(math.log(6 + 40 + 40))
    assert values["synco-extrapolated"] == pytest.approx(math.log(46))
    assert values["gor"] == pytest.approx(math.log(6) + 1 + (1 - 1 / 4))
    margin = (math.cos(math.radians(10)) - 1) / tau
    assert values["arccon"] == pytest.approx(math.log(math.exp(margin) + 5) - margin, rel=1e-4)
    # MoCHi on the circle: the mix of an anchor at 0° and a negative at 90° with β = 1/3 lies at atan(2)
    s = math.cos(math.radians(90))
    beta = 1 / 3
    angle = (beta + (1 - beta) * s) / math.sqrt(beta**2 + (1 - beta) ** 2 + 2 * beta * (1 - beta) * s)
    assert angle == pytest.approx(math.cos(math.atan(2)))


@pytest.mark.parametrize("n", [2, 8])
@pytest.mark.parametrize("tau", [0.05, 0.3])
def test_guided_losses_and_released_mixes_equal_their_loops(tau: float, n: int) -> None:
    z, guide = batch(n, 6), batch(n, 3, seed=5)[0].detach()
    for above in (0.4, -1.0):  # -1: the guide takes every negative for a positive
        settings = {"temperature": tau, "guide_above": above, "noise_steps": 3, "seed": 4}
        for preset, loop in (("dclr", oracle.dclr), ("dclr-as-released", oracle.dclr_as_released)):
            loss = losses.build(preset, **settings)
            start = torch.randn(n, 6, generator=loss.generator()).double()
            assert_same(loss(*z, guide=guide).loss, loop(*z, guide, start, above, 3, tau), z)
    for margin in (0.5, 2.0):
        out = losses.build("gist", temperature=tau, guide_margin=margin)(*z, guide=guide)
        assert_same(out.loss, oracle.guided(*z, guide, 1.0, margin, tau), z)
    assert float(out.loss) == pytest.approx(0) and float(out.diagnostics["masked"]) == pytest.approx(1, abs=0.4)
    for masked, logit in (("zero", 0.0), ("-inf", -math.inf)):
        out = losses.build("mixcse-as-released", temperature=tau, masked_logit=masked)(*z)
        assert_same(out.loss, oracle.mixcse_as_released(*z, 0.2, tau, logit), z)


def test_a_guide_composes_with_mixing_positives_of_their_own_and_mined_negatives() -> None:
    z, guide = batch(6, 5), torch.eye(6)
    guide[1] = guide[0]  # to the guide, sentences 0 and 1 say the same
    as_copies = losses.build("pm+hnm", hardness=5.0)(*z, groups=torch.tensor([0, 0, 1, 2, 3, 4])).loss
    both = losses.build("pm+hnm", hardness=5.0, guide_above=0.9)(*z, guide=guide)
    assert_same(both.loss, as_copies, z)
    assert float(both.diagnostics["masked"]) == pytest.approx(2 / 30)
    hard = batch(6, 5, seed=3)[0]
    seen = torch.eye(6).roll(1, 0)  # each mined negative is, to the guide, another row's positive
    out = losses.build("gist")(*z, negatives=hard, guide=torch.eye(6), negative_guide=seen).loss
    groups = {"groups": torch.arange(6), "negative_groups": torch.arange(6).roll(1)}
    assert_same(out, losses.build("simcse")(*z, negatives=hard, **groups).loss, [*z, hard])
    far = losses.build("gist", guide_margin=0.0)(*z, guide=torch.eye(6), positive_guide=torch.eye(6).roll(1, 0)).loss
    assert float(far) < float(losses.build("simcse")(*z).loss)  # j's positive is like i, its own is not


@pytest.mark.parametrize(
    ("preset", "given", "text"),
    [
        ("gist", {}, "none was given"),
        ("simcse", {"guide": torch.eye(3)}, "asks none"),
        ("gist", {"guide": torch.eye(4)}, r"guide has shape \(4, 4\)"),
        ("gist", {"guide": torch.eye(3), "negative_guide": torch.eye(3)}, "negative_guide has shape"),
        ("gist", {"guide": torch.full((3, 2), math.nan)}, "NaN"),
    ],
)
def test_a_guide_that_does_not_fit_is_refused(preset: str, given: dict[str, Tensor], text: str) -> None:
    with pytest.raises(HncseError, match=text):
        losses.build(preset)(*batch(3, 4), **given)


def test_the_laws_of_hardness_decoupled_and_hcl_hold() -> None:
    # gradients by cosines, as the docstring of hncse.losses.relatives writes them
    tau, alpha, beta, n = 0.5, 9.0, 1.0, 5
    cosine = 2 * torch.rand(n, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 1
    own, p = torch.eye(n, dtype=torch.bool), cosine.diagonal() / tau

    def pulls(**options) -> torch.Tensor:
        s = cosine.clone().requires_grad_()
        relatives.objective(s, None, presets.LossOptions(temperature=tau, **options), 8).backward()
        return n * tau * s.grad

    def softmax(times: float) -> torch.Tensor:
        return (times * cosine / tau).masked_fill(own, -torch.inf).softmax(dim=1)

    def share(total: torch.Tensor) -> torch.Tensor:
        return (p - torch.logaddexp(p, total)).exp()[:, None]  # (n, 1) of the positive

    x = (cosine / tau).masked_fill(own, -torch.inf)
    sums = {c: (c * x).logsumexp(dim=1) for c in (1 + alpha * tau, 1 + beta, beta, 1.0)}
    hcl = share(math.log(n - 1) + sums[1 + beta] - sums[beta])
    wanted = {
        "softmax": (1 - share(sums[1.0])) * softmax(1.0),
        "decoupled": softmax(1.0),
        "hcl": (1 - hcl) * ((1 + beta) * softmax(1 + beta) - beta * softmax(beta)),
    }
    for denominator, law in wanted.items():
        torch.testing.assert_close(pulls(denominator=denominator, beta=beta)[~own], law[~own])
    colder = (1 - share(sums[1 + alpha * tau])) * softmax(1 + alpha * tau)  # τ' = τ/(1+ατ)
    torch.testing.assert_close(pulls(hardness=alpha)[~own], colder[~own])


def test_the_published_prior_ends_the_gradient_where_positives_are_close() -> None:
    z = [torch.eye(8, dtype=torch.float64) + 0.1 * part.detach() / 4 for part in batch(8, 8)]
    z = [part.requires_grad_() for part in z]
    simcse = gradient(losses.build("simcse", temperature=0.1)(*z).loss, z).norm()
    assert gradient(losses.build("debiased", temperature=0.1)(*z).loss, z).norm() < 1e-2 * simcse
    assert gradient(losses.build("debiased", temperature=0.1, prior=1e-6)(*z).loss, z).norm() > 0.5 * simcse


def test_options_at_rest_change_nothing_and_relatives_compose() -> None:
    z = batch(9, 6)
    plain = losses.build("simcse")(*z).loss
    assert float(losses.build("simcse", hardness=0.0, orthogonality=0.0)(*z).loss) == float(plain)
    both = losses.build("pm-fixed", hardness=5.0)(*z).loss
    assert float(both) > float(losses.build("pm-fixed")(*z).loss)
    hnm = losses.build("hnm-no-replacement", hardness=2.0, k=4)(*z, negatives=batch(9, 6, seed=3)[0])
    assert torch.isfinite(gradient(hnm.loss, z)).all() and "mix_hardness" in hnm.diagnostics


@pytest.mark.parametrize("of", ["in-batch", "mined", "all"])
def test_hardness_of_mined_negatives_is_sentence_transformers(of: str) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    mode = {"in-batch": "in_batch_negatives", "mined": "hard_negatives", "all": "all_negatives"}[of]
    z = [part.detach() for seed in (0, 1) for part in batch(6, 5, seed=seed)][:3]
    theirs = MultipleNegativesRankingLoss(
        SentenceTransformer(modules=[torch.nn.Identity()]), scale=10.0, hardness_mode=mode, hardness_strength=3.0
    ).compute_loss_from_embeddings(z, None)
    ours = losses.build("hardness", hardness=3.0, hardness_of=of, temperature=0.1)(z[0], z[1], negatives=z[2]).loss
    assert float(ours) == pytest.approx(float(theirs), rel=1e-6)


def test_the_weight_of_mined_negatives_is_added_to_a_logit_whatever_the_loss() -> None:
    z1, z2 = batch(5, 6)
    hard = batch(5, 6, seed=7)[0]
    weight, tau, alpha = 1.3, 0.2, 4.0
    given = {"hardness": alpha, "hardness_of": "all", "temperature": tau, "hard_negative_weight": weight}
    out = losses.build("simcse", **given)(z1, z2, negatives=hard)
    s = torch.cat([torch.nn.functional.cosine_similarity(z1[:, None], z[None], dim=-1) for z in (z2, hard)], dim=1)
    logits = (
        s / tau
        + alpha * s.detach() * (1 - torch.eye(5, 10).double())
        + weight * torch.eye(5).double().repeat(1, 2).triu(5)
    )
    assert_same(out.loss, torch.nn.functional.cross_entropy(logits, torch.arange(5)), [z1, z2, hard])
    assert float(out.diagnostics["mined_similarity"]) == pytest.approx(float(s[:, 5:].diagonal().mean()))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"hardness": -1.0}, "0 or more"),
        ({"denominator": "softmx"}, "one of 'softmax'"),
        ({"prior": 1.0}, "below 1"),
        ({"mixed_negative": 2.0}, r"\[0, 1\]"),
        ({"anchor_mixes": -1}, "at least 0"),
        ({"angular_margin": 90.0}, "below 90"),
        ({"views": 3, "anchor_mixes": 2}, "leave anchor_mixes off"),
    ],
)
def test_values_out_of_range_are_refused(options, text: str) -> None:
    with pytest.raises(HncseError, match=text):
        losses.build("simcse", **options)
