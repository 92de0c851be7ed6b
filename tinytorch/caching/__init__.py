"""Module 19: the key-value cache. What attention computed for earlier tokens is kept, not computed again.

Without it, the n-th new token costs a pass over all n tokens; with it, a pass over one token that
looks back at n stored keys and values. `GPT.generate` uses one on its own; here it can be held in
the hand: filled, read, switched on for a model and off again.
"""

from .attention import CachedMultiHeadAttention, analyze_kv_cache_performance, generate_with_cache
from .cache import KVCache, create_kv_cache, disable_kv_cache, enable_kv_cache

__all__ = [
    "CachedMultiHeadAttention",
    "KVCache",
    "analyze_kv_cache_performance",
    "create_kv_cache",
    "disable_kv_cache",
    "enable_kv_cache",
    "generate_with_cache",
]
