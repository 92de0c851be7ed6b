"""GPT and Llama alike: PyTorch's logits, gradients and text; causal, deaf to padding, trainable deep."""

import numpy as np
import pytest

from tests import golden
from tests.golden import language
from tests.golden.language import IDS, PROMPT, VOCAB
from tinytorch import kernels
from tinytorch.activations import SiLU
from tinytorch.autograd import gradcheck, no_grad
from tinytorch.caching import disable_kv_cache, enable_kv_cache
from tinytorch.models import Llama, next_token_loss
from tinytorch.models.llama import LlamaBlock
from tinytorch.optimizers import AdamW
from tinytorch.tensor import Tensor
from tinytorch.transformers import GPT, SwiGLU

STORED = golden.load("language")
KINDS = ["gpt", "llama"]


def make(kind, dtype=np.float32):
    """The model that the stored arrays are of, with its weights."""
    model = GPT(**language.SIZES) if kind == "gpt" else Llama(**language.SIZES, **language.LLAMA)
    weights = language.weights(language.shapes(kind), dtype)
    for name, parameter in model.named_parameters():
        parameter.data = weights[name]
    return model


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def model(kind):
    return make(kind)


def results(model):
    logits = model(IDS[:, :-1])
    loss = next_token_loss(logits, IDS[:, 1:])
    loss.backward()
    return logits.data, loss.data, {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.kernel
class TestPyTorch:
    def test_stored_weights_are_all_there_are(self, kind, model):
        assert {name: p.shape for name, p in model.named_parameters()} == language.shapes(kind)

    def test_stored_logits_and_all_gradients(self, kind, model):
        logits, loss, grads = results(model)
        np.testing.assert_allclose(logits, STORED[f"{kind}/logits"], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(loss, STORED[f"{kind}/loss"], rtol=1e-5)
        ours = np.concatenate([grads[name].ravel() for name in sorted(grads)])
        theirs = STORED[f"{kind}/grads"]
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())

    @pytest.mark.parametrize("use_cache", [True, False])
    def test_stored_text_token_by_token(self, kind, model, use_cache):
        steps = STORED[f"{kind}/text"].shape[1] - PROMPT.shape[1]
        ours = model.generate(PROMPT, steps, temperature=0, use_cache=use_cache).data
        assert np.array_equal(ours, STORED[f"{kind}/text"])

    def test_live_gradients_in_double(self, kind):
        pytest.importorskip("torch")
        logits, loss, grads = results(make(kind, np.float64))
        theirs, their_grads = language.run_model(kind, np.float64)
        np.testing.assert_allclose(logits, theirs["logits"], rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(loss, theirs["loss"], rtol=1e-10)
        for name, grad in grads.items():
            np.testing.assert_allclose(grad, their_grads[name], rtol=1e-8, atol=1e-10, err_msg=name)

    def test_loss_over_sequences_leaves_out_what_is_ignored(self):
        torch = pytest.importorskip("torch")
        logits = np.random.default_rng(0).standard_normal((2, 5, 7)).astype(np.float32)
        targets = np.array([[1, 2, -1, 4, 5], [6, -1, -1, 0, 1]])
        ours, theirs = Tensor(logits, requires_grad=True), torch.tensor(logits, requires_grad=True)
        loss = next_token_loss(ours, targets, ignore_index=-1)
        expected = torch.nn.functional.cross_entropy(
            theirs.transpose(1, 2), torch.tensor(targets), ignore_index=-1
        )
        loss.backward(), expected.backward()
        assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
        np.testing.assert_allclose(ours.grad, theirs.grad.numpy(), rtol=1e-5, atol=1e-7)


def test_logits_depend_on_the_past_only(model):
    before = model(IDS).data
    for t in (0, 4, 8):
        changed = IDS.copy()
        changed[:, t] = (changed[:, t] + 1) % VOCAB
        after = model(changed).data
        assert np.array_equal(after[:, :t], before[:, :t])
        assert np.abs(after[:, t:] - before[:, t:]).max(axis=(0, 2)).min() > 1e-4


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_padded_batch_equals_its_rows_alone(model, side):
    lengths = [9, 4, 1]
    ids, keep = np.zeros_like(IDS), np.zeros_like(IDS)
    for row, n in enumerate(lengths):
        where = slice(9 - n, 9) if side == "left" else slice(0, n)
        ids[row, where], keep[row, where] = IDS[row, :n], 1
    logits = model(ids, padding_mask=keep).data
    assert np.isfinite(logits).all()
    for row, n in enumerate(lengths):
        alone = model(IDS[row : row + 1, :n]).data[0]
        np.testing.assert_allclose(logits[row, keep[row] == 1], alone, rtol=1e-4, atol=1e-4)


def test_padding_gets_no_gradient(model):
    ids, targets = IDS.copy(), IDS[:, 1:].copy()
    ids[:, 5:], targets[:, 4:] = 0, -100
    keep = np.arange(9) < 5 + np.zeros((3, 1))
    next_token_loss(model(ids[:, :-1], padding_mask=keep[:, :-1]), targets).backward()
    padded = {name: p.grad.copy() for name, p in model.named_parameters()}
    model.zero_grad()
    next_token_loss(model(IDS[:, :5][:, :-1]), IDS[:, 1:5]).backward()
    for name, p in model.named_parameters():
        np.testing.assert_allclose(padded[name], p.grad, rtol=1e-3, atol=1e-5, err_msg=name)


def test_infer_and_the_cache_give_forward(model):
    with no_grad():
        expected = model(IDS).data
    np.testing.assert_allclose(model.infer(IDS), expected, rtol=1e-4, atol=1e-4)
    cache = model.new_cache(3)
    got = [model.infer(IDS[:, :4], cache)] + [model.infer(IDS[:, t : t + 1], cache) for t in range(4, 9)]
    np.testing.assert_allclose(np.concatenate(got, axis=1), expected, rtol=1e-4, atol=1e-4)


def test_the_course_cache_gives_forward(model):
    expected = model(IDS).data
    enable_kv_cache(model, batch_size=3)
    with no_grad():
        got = [model(IDS[:, :4]).data] + [model(IDS[:, t : t + 1]).data for t in range(4, 9)]
    disable_kv_cache(model)
    np.testing.assert_allclose(np.concatenate(got, axis=1), expected, rtol=1e-4, atol=1e-4)


def test_sequences_of_a_cache_may_differ_in_length(model):
    cache = model.new_cache(2)
    model.infer(IDS[:2, :4], cache)
    cache.lengths[1] = 2
    ids = np.array([[IDS[0, 4]], [IDS[1, 2]]])
    got = model.infer(ids, cache)[:, -1]
    for row, n in enumerate((5, 3)):
        np.testing.assert_allclose(got[row], model.infer(IDS[row : row + 1, :n])[0, -1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_24_layers_train_without_trouble(kind):
    np.random.seed(0)
    sizes = dict(vocab_size=VOCAB, embed_dim=24, num_layers=24, num_heads=4, max_seq_len=16)
    model = GPT(**sizes) if kind == "gpt" else Llama(**sizes, num_kv_heads=2)
    optimizer, losses = AdamW(model.parameters(), lr=3e-3), []
    for _ in range(12):
        optimizer.zero_grad()
        loss = next_token_loss(model(IDS[:, :-1]), IDS[:, 1:])
        loss.backward()
        norms = [np.linalg.norm(p.grad) for p in model.parameters()]
        assert np.isfinite(norms).all() and min(norms) > 0
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


class TestLlama:
    def test_has_no_biases_and_fewer_keys(self):
        model = Llama(11, 16, 2, 4, num_kv_heads=1, hidden_dim=20)
        per_block = 16 * 16 * 2 + 16 * 4 * 2 + 3 * 16 * 20 + 2 * 16
        assert sum(p.size for p in model.parameters()) == 2 * 11 * 16 + 2 * per_block + 16
        assert not any("bias" in name or "position" in name for name, _ in model.named_parameters())
        assert model.new_cache(1, 10).keys.shape == (2, 1, 1, 10, 4)

    def test_gradients(self):
        np.random.seed(0)
        model = Llama(3, embed_dim=4, num_layers=1, num_heads=2, num_kv_heads=1, hidden_dim=3, max_seq_len=4)
        for parameter in model.parameters():
            parameter.data = parameter.data.astype(np.float64)
        ids = np.array([[0, 2, 2], [1, 0, 2]])
        assert gradcheck(lambda *parameters: model(ids), model.parameters())

    def test_gated_mlp(self):
        mlp, x = SwiGLU(12), Tensor(np.random.randn(2, 3, 12))
        assert mlp.gate.weight.shape == (12, 32) and SwiGLU(96).gate.out_features == 256
        expected = mlp.down(SiLU()(mlp.gate(x)) * mlp.up(x)).data
        np.testing.assert_allclose(mlp(x).data, expected, rtol=1e-6)
        np.testing.assert_allclose(mlp.infer(x.data), expected, rtol=1e-5, atol=1e-6)

    def test_decoding_runs_on_a_replaced_matmul(self):
        calls, model = [], make("llama")
        expected = model.generate(PROMPT, 4, temperature=0).data
        with kernels.use(matmul=lambda a, b: calls.append(None) or a @ b):
            assert np.array_equal(model.generate(PROMPT, 4, temperature=0).data, expected)
        assert calls

    def test_old_positions_keep_their_keys_when_the_window_slides(self):
        model = Llama(**language.SIZES, **language.LLAMA)
        cache = kernels.KVCache(1, 20, 2, language.KV_HEADS, 4, window=4)
        got = np.concatenate([model.infer(IDS[:1, t : t + 1], cache) for t in range(9)], axis=1)
        assert np.isfinite(got).all()
        np.testing.assert_allclose(got[:, :4], model.infer(IDS[:1, :4]), rtol=1e-4, atol=1e-4)


MISUSE = {
    "no layers": (lambda: Llama(9, 8, 0, 2), "Llama: num_layers must be a positive whole number, got 0"),
    "no heads": (lambda: Llama(9, 8, 1, 0), "num_heads must be a positive whole number, got 0"),
    "heads of unequal width": (lambda: Llama(9, 10, 1, 4), "embed_dim=10 can't be split into num_heads=4"),
    "an odd head": (lambda: Llama(9, 6, 1, 2), "head_dim=3 is odd.*num_heads"),
    "queries that share unevenly": (lambda: Llama(9, 24, 1, 6, 4), "num_kv_heads=4.*divides num_heads"),
    "no hidden features": (lambda: SwiGLU(8, 0), "out_features must be a positive whole number, got 0"),
    "another width": (lambda: LlamaBlock(8, 2)(Tensor(np.zeros((1, 3, 6)))), "must have 8 elements"),
    "too long a text": (lambda: make("llama")(np.zeros((1, 21), int)), "Llama: 21 tokens.*max_seq_len=20"),
    "one sequence": (lambda: make("llama")([1, 2, 3]), r"Llama: expected token ids of shape \(batch, time\)"),
    "text": (lambda: make("gpt")("abc"), "token ids"),
    "half a token": (lambda: make("gpt")([[0.5]]), "whole numbers"),
    "another tokenizer's id": (
        lambda: make("llama")([[VOCAB]]),
        f"id {VOCAB} at position.*that of the token",
    ),
    "padding of another batch": (
        lambda: make("gpt")(IDS, padding_mask=np.ones((9, 3))),
        r"= \(3, 9\), got \(9, 3\)",
    ),
    "ids as padding": (lambda: make("gpt")(IDS, padding_mask=IDS), "padding_mask holds 1.*ids != pad_id"),
    "one target too many": (lambda: next_token_loss(make("gpt")(IDS[:, :-1]), IDS), "(?s)one target.*3, 9"),
    "no target at all": (
        lambda: next_token_loss(make("gpt")(IDS), np.full((3, 9), -100)),
        "mean over no rows",
    ),
}


@pytest.mark.parametrize("what", MISUSE)
def test_misuse_is_explained(what):
    mistake, words = MISUSE[what]
    with pytest.raises((ValueError, TypeError), match=words):
        mistake()
