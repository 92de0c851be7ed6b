"""What scripts and notebooks written for the public course rely on: paths, names, parameters, attributes.

``name(parameters)`` in a table is as the course documents it: ours must take the same parameters by the same
names, in the same order and with the same defaults. It may take more, after them.
"""

import importlib
import inspect

import numpy as np
import pytest

import tinytorch as tt

TOP = """
    Tensor Sigmoid ReLU Tanh GELU Softmax Layer Linear Dropout MSELoss CrossEntropyLoss BinaryCrossEntropyLoss
    SGD Adam AdamW Trainer CosineSchedule clip_grad_norm Dataset TensorDataset DataLoader RandomHorizontalFlip
    RandomCrop Compose Conv2d MaxPool2d AvgPool2d Tokenizer CharTokenizer BPETokenizer Embedding
    PositionalEncoding EmbeddingLayer MultiHeadAttention scaled_dot_product_attention LayerNorm MLP
    TransformerBlock GPT create_causal_mask enable_autograd __version__
"""

# Paths of one module, then what it holds.
MODULES = {
    "core.tensor": """
        Tensor(data, requires_grad=False)
        BYTES_PER_FLOAT32 KB_TO_BYTES MB_TO_BYTES
    """,
    "core.activations": "Sigmoid ReLU Tanh GELU Softmax TOLERANCE",
    "core.layers core.dense core.networks": """
        Layer
        Linear(in_features, out_features, bias=True)
        Dropout(p=0.5)
        XAVIER_SCALE_FACTOR HE_SCALE_FACTOR DROPOUT_MIN_PROB DROPOUT_MAX_PROB
    """,
    "core.losses": """
        MSELoss() CrossEntropyLoss() BinaryCrossEntropyLoss() log_softmax(x, dim=-1) EPSILON
    """,
    "core.autograd": """
        enable_autograd(quiet=False)
        Function AddBackward MulBackward SubBackward DivBackward MatmulBackward
        TransposeBackward(t, dim0, dim1) PermuteBackward(t, axes) EmbeddingBackward(weight, indices)
        SliceBackward(t, key) ReshapeBackward(t, shape) SumBackward ReLUBackward SigmoidBackward
        SoftmaxBackward GELUBackward MSEBackward BCEBackward CrossEntropyBackward Variable
    """,
    "core.optimizers": """
        Optimizer(params)
        SGD(params, lr=0.01, momentum=0.0, weight_decay=0.0)
        Adam(params, lr=0.001, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
        AdamW(params, lr=0.001, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
        DEFAULT_LEARNING_RATE_SGD DEFAULT_LEARNING_RATE_ADAM DEFAULT_MOMENTUM DEFAULT_BETA1 DEFAULT_BETA2
        DEFAULT_EPS DEFAULT_WEIGHT_DECAY_ADAMW
    """,
    "core.training": """
        CosineSchedule(max_lr=0.1, min_lr=0.01, total_epochs=100)
        clip_grad_norm(parameters, max_norm=1.0)
        Trainer(model, optimizer, loss_fn, scheduler=None, grad_clip_norm=None)
        MeanSquaredError
    """,
    "core.dataloader core.data data.loader": """
        Dataset TensorDataset DataLoader(dataset, batch_size, shuffle=False)
        RandomHorizontalFlip(p=0.5) RandomCrop(size, padding=4) Compose(transforms)
    """,
    "core.spatial": """
        Conv2d(in_channels, out_channels, kernel_size, stride=1, padding=0, bias=True)
        MaxPool2d(kernel_size, stride=None, padding=0)
        AvgPool2d(kernel_size, stride=None, padding=0)
        BatchNorm2d(num_features, eps=1e-5, momentum=0.1)
        SimpleCNN(num_classes=10)
        Conv2dBackward MaxPool2dBackward Conv2D MaxPool2D
    """,
    "core.tokenization text.tokenization": """
        Tokenizer CharTokenizer(vocab=None) BPETokenizer(vocab_size=1000)
    """,
    "core.embeddings text.embeddings": """
        Embedding(vocab_size, embed_dim)
        PositionalEncoding(max_seq_len, embed_dim)
        create_sinusoidal_embeddings(max_seq_len, embed_dim)
        EmbeddingLayer(vocab_size, embed_dim, max_seq_len=512, pos_encoding='learned', scale_embeddings=False)
    """,
    "core.attention": """
        scaled_dot_product_attention(Q, K, V, mask=None)
        MultiHeadAttention(embed_dim, num_heads)
        MASK_VALUE SelfAttention
    """,
    "core.transformer core.transformers models.transformer": """
        create_causal_mask(seq_len)
        LayerNorm(normalized_shape, eps=1e-5)
        MLP(embed_dim, hidden_dim=None, dropout_prob=0.1)
        TransformerBlock(embed_dim, num_heads, mlp_ratio=4, dropout_prob=0.1)
        GPT(vocab_size, embed_dim, num_layers, num_heads, max_seq_len=1024)
    """,
    "profiling profiler profiling.profiler perf.profiling utils.profiler": """
        Profiler()
        quick_profile(model, input_tensor, profiler=None)
        analyze_weight_distribution(model, percentiles=(10, 25, 50, 75, 90))
        Timer() MemoryProfiler() FLOPCounter()
        ProfilerContext(
            name='Operation', timing_runs=10, timing_warmup=2, enable_memory=True, enable_flops=False)
        SimpleProfiler(track_memory=True, track_cpu=True)
        profile_function(func)
    """,
    "benchmarking bench benchmarking.benchmark capstone utils.benchmark core.benchmarking core.mlops": """
        BenchmarkResult(metric_name, values)
        Benchmark(models, datasets, warmup_runs=5, measurement_runs=10)
        BenchmarkSuite(models, datasets, output_dir='benchmark_results')
        TinyMLPerf(random_seed=42)
        SimpleMLP(input_size=10, hidden_size=20, output_size=3)
        BenchmarkReport(model_name='model')
        generate_submission(baseline_report, optimized_report=None, student_name=None,
        techniques_applied=None) save_submission(submission, filepath='submission.json')
        validate_submission_schema(submission)
        CompetitionProfiler(warmup_runs=3, timing_runs=10)
        TinyMLPerfCompetition(results_dir='tinymlperf_results')
        TinyMLPerfCompetitionPlus(results_dir='tinymlperf_results')
        InnovationDetector() PerformanceTimer(warmup_runs=3, timing_runs=10) MemoryProfiler AccuracyTester
        PerformanceTester(warmup_runs=3, timing_runs=10) create_test_data(size=1000)
    """,
    "acceleration core.kernels perf.acceleration optimization.acceleration backends.acceleration": """
        vectorized_matmul(a, b) tiled_matmul(a, b, tile_size=64) fused_gelu(x)
        matmul_naive(a, b) matmul_blocked(a, b, block_size=64) matmul_numpy(a, b) matmul(a, b)
        OptimizedBackend() DEFAULT_WARMUP_ITERATIONS DEFAULT_TIMING_ITERATIONS
    """,
    "quantization perf.quantization optimization.quantization": """
        RealisticCNN(input_channels=3, num_classes=10) QuantizedRealisticCNN(input_channels=3, num_classes=10)
        ProperINT8Quantizer() test_proper_quantization_performance() analyze_quantization_scaling()
        BaselineCNN(input_channels=3, num_classes=10) INT8Quantizer() QuantizedCNN(input_channels=3)
        QuantizedConv2d(in_channels, out_channels, kernel_size) QuantizationPerformanceAnalyzer()
        EfficientCNN() QuantizedEfficientCNN(fp32_model)
        quantize_int8(tensor) dequantize_int8(q, scale, zero_point) Quantizer QuantizedLinear
        quantize_model(model, calibration_data=None) compare_model_sizes(original, quantized)
        INT8_MIN_VALUE INT8_MAX_VALUE INT8_RANGE EPSILON BYTES_PER_FLOAT32 BYTES_PER_INT8 MB_TO_BYTES
    """,
    "pruning nn.utils.prune": """
        DenseMLP(input_size=784, hidden_sizes=(512, 256, 128), output_size=10, activation='relu')
        MagnitudePruner() analyze_pruning_accuracy_tradeoffs() analyze_pruning_vs_quantization()
        explore_production_pruning()
        analyze_weight_redundancy(weights, title='Weight Analysis')
        prune_conv_filters(conv_weights, sparsity=0.5)
        compare_structured_vs_unstructured(conv_weights, sparsity=0.5)
        SparseLinear(in_features, out_features) ModelCompressor() benchmark_sparse_inference_speedup()
    """,
    "caching experimental.kv_cache": """
        KVCache(batch_size, max_seq_len, num_layers, num_heads, head_dim)
        CachedMultiHeadAttention(embed_dim, num_heads, dropout=0.0)
        generate_with_cache(
            model_func, initial_tokens, max_new_tokens=50, embed_dim=64, num_heads=8, num_layers=4)
        analyze_kv_cache_performance()
    """,
    "core.setup": "",
    "nn": """
        Module Layer Linear Dropout ReLU Sigmoid Softmax Tanh Conv2d MaxPool2d AvgPool2d Embedding
        PositionalEncoding MultiHeadAttention scaled_dot_product_attention LayerNorm TransformerBlock
        Sequential Parameter(data, requires_grad=True) functional F
    """,
    "nn.functional": "",
    "optim": "Adam SGD AdamW",
    "backends datasets experimental utils nn.utils": "",
}

# What instances and classes must have: an expression that makes one, then names.
ATTRIBUTES = {
    "tt.Tensor([1.0, 2.0])": """
        data shape size dtype requires_grad grad _grad_fn matmul reshape transpose sum mean max numpy backward
        zero_grad add multiply
    """,
    "tt.ReLU()": "forward parameters backward",
    "tt.Softmax()": "forward parameters backward",
    "tt.Linear(2, 3)": "weight bias in_features out_features parameters forward",
    "tt.Dropout()": "p forward parameters",
    "tt.MSELoss()": "forward backward",
    "tt.SGD(PARAMETERS)": """
        params step_count zero_grad step lr momentum weight_decay momentum_buffers has_momentum
        get_momentum_state set_momentum_state
    """,
    "tt.Adam(PARAMETERS)": "lr beta1 beta2 eps weight_decay m_buffers v_buffers",
    "tt.CosineSchedule()": "get_lr max_lr min_lr total_epochs",
    "tt.Trainer(tt.Linear(2, 2), tt.SGD(PARAMETERS), tt.MSELoss())": """
        train_epoch evaluate save_checkpoint load_checkpoint epoch step training_mode history model optimizer
        loss_fn scheduler grad_clip_norm
    """,
    "tt.TensorDataset(tt.Tensor([1.0]))": "tensors",
    "tt.DataLoader(tt.TensorDataset(tt.Tensor([1.0])), 1)": "dataset batch_size shuffle",
    "tt.Conv2d(2, 3, 3)": "weight bias kernel_size stride padding in_channels out_channels parameters",
    "tt.MaxPool2d(2)": "kernel_size stride padding",
    "tt.AvgPool2d(2)": "kernel_size stride padding",
    "tt.nn.BatchNorm2d(2)": "gamma beta running_mean running_var training train eval eps momentum",
    "tt.CharTokenizer(['a'])": "build_vocab vocab vocab_size char_to_id id_to_char unk_id encode decode",
    "tt.BPETokenizer()": "train vocab merges token_to_id id_to_token encode decode vocab_size",
    "tt.Embedding(3, 2)": "weight vocab_size embed_dim",
    "tt.PositionalEncoding(3, 2)": "position_embeddings max_seq_len embed_dim",
    "tt.EmbeddingLayer(3, 2)": "token_embedding pos_encoding",
    "tt.MultiHeadAttention(4, 2)": "q_proj k_proj v_proj out_proj head_dim embed_dim num_heads",
    "tt.LayerNorm(2)": "gamma beta eps",
    "tt.MLP(2)": "linear1 linear2 gelu",
    "tt.TransformerBlock(4, 2)": "attention ln1 ln2 mlp",
    "tt.GPT(5, 4, 1, 2, 8)": """
        token_embedding position_embedding blocks ln_f lm_head generate embed_dim num_layers num_heads
        max_seq_len
    """,
    "tt.quantization.RealisticCNN()": "forward predict _count_parameters input_channels num_classes",
    "tt.quantization.QuantizedRealisticCNN()": "forward predict",
    "tt.quantization.ProperINT8Quantizer()": "calibrate_and_quantize_model _quantize_weights",
    "tt.quantization.INT8Quantizer()": """
        compute_quantization_params quantize_tensor dequantize_tensor quantize_weights
    """,
    "tt.quantization.QuantizedConv2d(3, 4, 3)": "forward quantize_weights weight_quantized weight_scale",
    "tt.quantization.QuantizedCNN()": "forward predict calibrate_and_quantize is_quantized",
    "tt.pruning.DenseMLP()": "count_parameters count_nonzero_parameters forward predict get_memory_usage_mb",
    "tt.pruning.MagnitudePruner()": """
        analyze_weight_distribution prune_by_magnitude measure_inference_speedup
        calculate_threshold create_mask prune measure_accuracy_impact
    """,
    "tt.pruning.SparseLinear(2, 3)": """
        load_dense_weights prune_weights forward_dense forward_sparse_naive forward_sparse_optimized
        benchmark_speedup dense_weights sparse_weights mask bias sparsity in_features out_features
    """,
    "tt.pruning.ModelCompressor()": """
        analyze_model_for_compression compress_model validate_compression_quality compressed_model
        compression_stats
    """,
    "tt.nn.Sequential(tt.ReLU())": "layers forward parameters",
}


def names(text):
    """``name`` or ``name(parameters)``, from a table's text."""
    start = depth = 0
    for i, character in enumerate(text + " "):
        depth += (character == "(") - (character == ")")
        if character.isspace() and depth == 0:
            if entry := text[start:i].strip():
                yield entry
            start = i + 1


ENTRIES = [
    (f"tinytorch.{path}", entry)
    for paths, text in MODULES.items()
    for path in paths.split()
    for entry in names(text)
] + [("tinytorch", name) for name in names(TOP)]


@pytest.mark.parametrize("path", sorted({f"tinytorch.{path}" for paths in MODULES for path in paths.split()}))
def test_every_path_imports(path):
    importlib.import_module(path)


@pytest.mark.parametrize(("path", "entry"), ENTRIES, ids=lambda value: value.split("(")[0])
def test_every_name_is_there(path, entry):
    name, _, parameters = entry.partition("(")
    thing = getattr(importlib.import_module(path), name)
    if parameters:
        namespace = {}
        exec(f"def expected({parameters}: pass", namespace)
        expected = inspect.signature(namespace["expected"]).parameters.values()
        own = [p for p in inspect.signature(thing).parameters.values() if p.kind is not p.KEYWORD_ONLY]
        for theirs, ours in zip(expected, own, strict=False):
            assert ours.name == theirs.name
            assert theirs.default in (theirs.empty, ours.default)
        assert len(own) >= len(expected)


@pytest.mark.parametrize("maker", ATTRIBUTES)
def test_every_attribute_is_there(maker):
    thing = eval(maker, {"tt": tt, "PARAMETERS": [tt.Tensor([1.0], requires_grad=True)]})
    assert [name for name in ATTRIBUTES[maker].split() if not hasattr(thing, name)] == []


def test_a_function_is_used_as_the_course_does():
    from tinytorch.core.autograd import AddBackward, TransposeBackward

    a, b = tt.Tensor([1.0], requires_grad=True), tt.Tensor([2.0], requires_grad=True)
    assert [g.tolist() for g in AddBackward(a, b).apply(np.array([3.0], np.float32))] == [[3.0], [3.0]]
    matrix = tt.Tensor(np.ones((2, 3)), requires_grad=True)
    (gradient,) = TransposeBackward(matrix, 0, 1).apply(np.ones((3, 2), np.float32))
    assert gradient.shape == (2, 3)
