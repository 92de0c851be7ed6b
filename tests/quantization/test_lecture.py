"""The lecture's models on plain arrays: what they compute is INT8, and what they report is measured."""

import numpy as np
import pytest

from tinytorch import Tensor, kernels, timing
from tinytorch.quantization import (
    BaselineCNN,
    EfficientCNN,
    INT8Quantizer,
    ProperINT8Quantizer,
    QuantizationPerformanceAnalyzer,
    QuantizedCNN,
    QuantizedConv2d,
    QuantizedEfficientCNN,
    QuantizedRealisticCNN,
    RealisticCNN,
    analyze_quantization_scaling,
)
from tinytorch.quantization import test_proper_quantization_performance as performance
from tinytorch.quantization.lecture import measuring

IMAGES = np.random.default_rng(0).normal(0.5, 0.5, (8, 3, 32, 32))  # float64, as lectures make them
SAMPLES = [image[None] for image in IMAGES]


@pytest.mark.parametrize(
    ("model", "count"), [(RealisticCNN, 1_690_250), (EfficientCNN, 42_442), (BaselineCNN, 42_432)]
)
def test_parameters_are_counted_and_arrays_become_logits(model, count):
    model = model()
    assert model._count_parameters() == count
    logits = model.forward(IMAGES)
    assert type(logits) is np.ndarray and logits.dtype == np.float32 and logits.shape == (8, 10)
    np.testing.assert_array_equal(model.predict(IMAGES), logits.argmax(axis=1))
    np.testing.assert_allclose(model(Tensor(IMAGES)).data, logits, rtol=1e-5, atol=1e-6)


def test_other_channels_and_classes():
    assert RealisticCNN(1, 7).forward(np.zeros((2, 1, 32, 32))).shape == (2, 7)


def quantized_models():
    realistic, efficient, baseline = RealisticCNN(), EfficientCNN(), BaselineCNN()
    in_place = QuantizedCNN(model=baseline)
    in_place.calibrate_and_quantize(SAMPLES)
    return [
        (realistic, ProperINT8Quantizer().calibrate_and_quantize_model(realistic, SAMPLES)),
        (efficient, QuantizedEfficientCNN(efficient)),
        (efficient, QuantizedEfficientCNN(efficient, SAMPLES)),
        (baseline, in_place),
    ]


def test_quantized_models_compute_nearly_the_same_in_a_quarter_of_the_bytes():
    for model, quantized in quantized_models():
        expected, given = model.forward(IMAGES), quantized.forward(IMAGES)
        assert given.dtype == np.float32
        assert np.square(given - expected).mean() < 0.02 * expected.var()
        np.testing.assert_array_equal(quantized.predict(IMAGES), given.argmax(axis=1))
        assert 3.4 < 4 * model._count_parameters() / quantized.nbytes < 4
        weights = [s.weight for s in quantized.inference.stages if hasattr(s, "weight")]
        assert weights and all(isinstance(weight, kernels.PackedInt8) for weight in weights)


def test_quantized_cnn_computes_in_float32_until_it_is_calibrated():
    model = BaselineCNN()
    quantized = QuantizedCNN(model=model)
    assert not quantized.is_quantized
    np.testing.assert_allclose(quantized.forward(IMAGES), model.forward(IMAGES), rtol=1e-4, atol=1e-5)
    quantized.calibrate_and_quantize(IMAGES)
    assert quantized.is_quantized


def test_without_calibration_data_the_first_images_set_the_scales():
    model = EfficientCNN()
    first, told = QuantizedEfficientCNN(model), QuantizedEfficientCNN(model, IMAGES[:2])
    first.forward(IMAGES[:2])
    np.testing.assert_array_equal(first.forward(IMAGES), told.forward(IMAGES))


@pytest.mark.parametrize("symmetric", [True, False])
def test_quantizer_covers_the_array(symmetric):
    x = np.random.default_rng(1).normal(1, 2, (50, 40))
    quantizer = INT8Quantizer()
    scale, zero_point = quantizer.compute_quantization_params(x, symmetric)
    q = quantizer.quantize_tensor(x, scale, zero_point)
    assert q.dtype == np.int8
    assert np.abs(quantizer.dequantize_tensor(q, scale, zero_point) - x).max() < 0.501 * scale
    if symmetric:
        assert zero_point == 0 and np.isclose(scale, np.abs(x).max() / 127)
    else:
        assert np.isclose(scale, (x.max() - x.min()) / 255)


def test_weights_are_symmetric_with_one_scale():
    w = np.random.default_rng(2).normal(0, 0.1, (4, 3, 3, 3))
    q, scale = ProperINT8Quantizer()._quantize_weights(w, "conv1")
    assert q.dtype == np.int8 and np.isclose(scale, np.abs(w).max() / 127)
    np.testing.assert_array_equal(q, np.rint(w / scale))
    result = INT8Quantizer().quantize_weights(w)
    assert result["zero_point"] == 0 and result["compression_ratio"] == 4
    assert result["original_shape"] == w.shape
    assert np.isclose(result["quantization_error"], np.abs(w - q * scale).mean(), rtol=1e-3)
    np.testing.assert_array_equal(result["quantized_weights"], q)


def test_quantized_convolution():
    layer = QuantizedConv2d(3, 4, 5)
    expected = layer.forward(IMAGES)
    assert expected.shape == (8, 4, 28, 28)
    layer.quantize_weights(INT8Quantizer())
    assert layer.weight_quantized.dtype == np.int8 and layer.weight_fp32 is None
    given = layer.forward(IMAGES)
    assert 0 < np.square(given - expected).mean() < 0.001 * expected.var()


@pytest.fixture
def raced(monkeypatch):
    """Races of two rounds: what they measure is no matter here."""
    race = timing.race
    monkeypatch.setattr(
        measuring.timing, "race", lambda *calls, **options: race(*calls, **{**options, "rounds": 2})
    )


def test_analyzer_reports_what_it_measured(capsys):
    model = BaselineCNN()
    quantized = ProperINT8Quantizer().calibrate_and_quantize_model(model, SAMPLES)
    analyzer = QuantizationPerformanceAnalyzer()
    found = analyzer.benchmark_models(model, quantized, IMAGES, num_runs=3)
    assert found is analyzer.results and found["batch_size"] == 8
    assert found["memory_baseline_kb"] == 42_432 * 4 / 1024
    assert found["memory_quantized_kb"] == quantized.nbytes / 1024
    assert min(found["speed_baseline_ms"], found["speed_quantized_ms"], found["speedup"]) > 0
    assert found["output_difference"] > 0 and found["prediction_agreement"] > 0.5
    assert "measured" in capsys.readouterr().out


def test_performance_of_the_realistic_model(raced):
    found = performance()
    assert found.keys() == {"speedup", "memory", "memory_reduction", "prediction_agreement", "output_mse"}
    assert found["memory"] > 3.8 and found["prediction_agreement"] > 0.5 and found["output_mse"] > 0


def test_scaling_is_measured_for_three_sizes(raced):
    found = analyze_quantization_scaling()
    assert [row["model"] for row in found] == ["small", "medium", "large"]
    assert found[0]["parameters"] < found[1]["parameters"] < found[2]["parameters"]
    assert found[2]["memory_reduction"] > 3.8


def quantized_twice():
    model = QuantizedCNN()
    model.calibrate_and_quantize(IMAGES)
    model.calibrate_and_quantize(IMAGES)


def convolution_quantized_twice():
    layer = QuantizedConv2d(1, 2, 3)
    layer.quantize_weights(INT8Quantizer())
    layer.quantize_weights(INT8Quantizer())


SPOILED = np.where(np.arange(32) == 3, np.nan, IMAGES)

MISUSE = [
    (lambda: RealisticCNN().forward(IMAGES[0]), ValueError, ["(N, 3, 32, 32)", "(3, 32, 32)", "x[None]"]),
    (lambda: RealisticCNN().forward(IMAGES.transpose(0, 2, 3, 1)), ValueError, ["transpose(0, 3, 1, 2)"]),
    (lambda: BaselineCNN().forward(IMAGES[:, :1]), ValueError, ["BaselineCNN", "(8, 1, 32, 32)"]),
    (lambda: QuantizedRealisticCNN().forward(IMAGES), RuntimeError, ["calibrate_and_quantize_model"]),
    (
        lambda: ProperINT8Quantizer().calibrate_and_quantize_model(RealisticCNN(), None),
        ValueError,
        ["static"],
    ),
    (lambda: ProperINT8Quantizer().calibrate_and_quantize_model(RealisticCNN(), []), ValueError, ["sample"]),
    (lambda: QuantizedCNN().calibrate_and_quantize(SPOILED), ValueError, ["NaN"]),
    (lambda: QuantizedCNN().calibrate_and_quantize(IMAGES[:, :1]), ValueError, ["calibration data", "shape"]),
    (lambda: QuantizedEfficientCNN(QuantizedCNN()), TypeError, ["float32", "QuantizedCNN", "quantize("]),
    (quantized_twice, ValueError, ["already", "new one"]),
    (convolution_quantized_twice, ValueError, ["already"]),
    (lambda: QuantizedConv2d(2, 4, 3).forward(IMAGES), ValueError, ["channels"]),
    (lambda: INT8Quantizer().compute_quantization_params(SPOILED), ValueError, ["NaN"]),
    (lambda: INT8Quantizer().compute_quantization_params(np.empty(0)), ValueError, ["nothing was observed"]),
    (lambda: INT8Quantizer().quantize_tensor(IMAGES, 0.0, 0), ValueError, ["scale"]),
    (lambda: INT8Quantizer().quantize_tensor(IMAGES, 0.1, 300), ValueError, ["zero_point", "300"]),
    (lambda: INT8Quantizer().quantize_weights(SPOILED), ValueError, ["NaN"]),
    (
        lambda: QuantizationPerformanceAnalyzer().benchmark_models(BaselineCNN(), QuantizedCNN(), IMAGES, 1),
        ValueError,
        ["num_runs", "2"],
    ),
    (
        lambda: QuantizationPerformanceAnalyzer().benchmark_models(BaselineCNN(), QuantizedCNN(), IMAGES[:0]),
        ValueError,
        ["no images"],
    ),
]


@pytest.mark.parametrize(("mistake", "error", "words"), MISUSE)
def test_mistakes_are_explained(mistake, error, words):
    with pytest.raises(error) as caught:
        mistake()
    assert [word for word in words if word not in str(caught.value)] == []
