"""Wrong solutions of lab 19."""

from . import Mutant

SOFTMAX = """    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)"""
RESIZED = """        self.keys = np.zeros((layers, batch, heads, capacity, width), np.float32)
        self.values = np.zeros((layers, batch, heads, capacity, width), np.float32)"""
WRITES = """        self.keys[layer, :, :, self.length : end] = k
        self.values[layer, :, :, self.length : end] = v"""
RESET = '"""Forget all positions; the memory stays."""\n        ### BEGIN SOLUTION\n        self.length = 0'
GROWN = """        keys = np.concatenate([self.keys[layer, :, :, : self.length], k], axis=2)
        values = np.concatenate([self.values[layer, :, :, : self.length], v], axis=2)
        self.keys = np.stack([keys if i == layer else np.resize(old, keys.shape) for i, old in enumerate(self.keys)])
        self.values = np.stack([values if i == layer else np.resize(old, keys.shape) for i, old in enumerate(self.values)])"""

MUTANTS = [
    Mutant("the scale missing", "attention", " * q.shape[3] ** -0.5", ""),
    Mutant("multiplied by the root of D", "attention", "** -0.5", "** 0.5"),
    Mutant("scaled by the number of positions", "attention", "q.shape[3] ** -0.5", "positions ** -0.5"),
    Mutant("softmax over the queries", "attention", SOFTMAX, SOFTMAX.replace("axis=-1", "axis=-2")),
    Mutant("softmax over the heads", "attention", SOFTMAX, SOFTMAX.replace("axis=-1", "axis=1")),
    Mutant("no max-subtraction", "attention", "scores - scores.max(axis=-1, keepdims=True)", "scores"),
    Mutant("the largest score of all rows subtracted", "attention", "scores.max(axis=-1, keepdims=True)", "scores.max()"),
    Mutant("not divided by the sum", "attention", "    weights /= weights.sum(axis=-1, keepdims=True)\n", ""),
    Mutant("causal mask missing", "attention", "np.where(seen, scores, np.float32(-np.inf))", "scores"),
    Mutant("a mask for whole texts only", "attention", "np.tri(steps, positions, positions - steps, dtype=bool)", "np.tri(steps, positions, dtype=bool)"),
    Mutant("the mask inverted", "attention", "np.where(seen, ", "np.where(~seen, "),
    Mutant("a query does not see itself", "attention", "positions - steps, dtype", "positions - steps - 1, dtype"),
    Mutant("a query sees the next one, too", "attention", "positions - steps, dtype", "positions - steps + 1, dtype"),
    Mutant("masked scores of 0", "attention", "np.float32(-np.inf)", "np.float32(0)"),
    Mutant("K in the place of V", "attention", "weights @ v", "weights @ k"),
    Mutant("a result in float64", "attention", "weights @ v", "weights.astype(np.float64) @ v"),
    Mutant("position off by one, position 0 left empty", "cache", WRITES, WRITES.replace("self.length : end", "self.length + 1 : end + 1")),
    Mutant("always written from position 0 on", "cache", WRITES, WRITES.replace("self.length : end", ": k.shape[2]")),
    Mutant("only the last position of a prompt stored", "cache", WRITES, WRITES.replace("self.length : end", "end - 1 : end").replace("= k", "= k[:, :, -1:]").replace("= v", "= v[:, :, -1:]")),
    Mutant("K and V swapped", "cache", WRITES, WRITES.replace("= k", "= x").replace("= v", "= k").replace("= x", "= v")),
    Mutant("heads and time in the wrong order", "cache", RESIZED, RESIZED.replace("heads, capacity", "capacity, heads")),
    Mutant("layers and batch in the wrong order", "cache", RESIZED, RESIZED.replace("layers, batch", "batch, layers")),
    Mutant("one cache for all layers", "cache", WRITES, WRITES.replace("layer,", ":,")),
    Mutant("keys and values in one array", "cache", RESIZED, RESIZED.replace("self.values = np.zeros((layers, batch, heads, capacity, width), np.float32)", "self.values = self.keys")),
    Mutant("float64", "cache", RESIZED, RESIZED.replace(", np.float32", "")),
    Mutant("grown for each token", "cache", WRITES, GROWN),
    Mutant("the whole capacity handed out", "cache", "return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]", "return self.keys[layer], self.values[layer]"),
    Mutant("the new positions not handed out", "cache", "return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]", "return self.keys[layer, :, :, : self.length], self.values[layer, :, :, : self.length]"),
    Mutant("every layer counts the positions", "cache", "        return self.keys[layer", "        self.length = end\n        return self.keys[layer"),
    Mutant("advance by one only", "cache", "self.length += steps", "self.length += 1"),
    Mutant("advance sets the length", "cache", "self.length += steps", "self.length = steps"),
    Mutant("not reset", "cache", RESET, RESET.replace("self.length = 0", "pass")),
    Mutant("a full cache drops what comes", "cache", "if end > self.keys.shape[3]:", "if end > self.keys.shape[3] + 1:"),
    Mutant("no room for the last position", "cache", "if end > self.keys.shape[3]:", "if end >= self.keys.shape[3]:"),
    Mutant("attends before appending", "cached_attention", "keys, values = cache.append(layer, k, v)\n    return attention(q, keys, values)", "keys, values = cache.append(layer, k, v)\n    return attention(q, keys[:, :, : -k.shape[2]], values[:, :, : -k.shape[2]])"),
    Mutant("the new positions only", "cached_attention", "attention(q, keys, values)", "attention(q, k, v)"),
    Mutant("keys and values swapped on the way", "cached_attention", "attention(q, keys, values)", "attention(q, values, keys)"),
    Mutant("K and V appended in the wrong order", "cached_attention", "cache.append(layer, k, v)", "cache.append(layer, v, k)"),
    Mutant("always layer 0", "cached_attention", "cache.append(layer, k, v)", "cache.append(0, k, v)"),
    Mutant("advanced in every layer", "cached_attention", "    return attention", "    cache.advance(k.shape[2])\n    return attention"),
    Mutant("the position off by one", "step", "forward(tokens, cache.length,", "forward(tokens, cache.length + 1,"),
    Mutant("each token told that it is position 0", "step", "forward(tokens, cache.length,", "forward(tokens, 0,"),
    Mutant("not advanced", "step", "    cache.advance(tokens.shape[1])\n", ""),
    Mutant("a prompt counted as one position", "step", "cache.advance(tokens.shape[1])", "cache.advance(1)"),
    Mutant("the batch counted", "step", "cache.advance(tokens.shape[1])", "cache.advance(tokens.shape[0])"),
    Mutant("the cache not used", "step", "cached_attention(q, k, v, cache, layer)", "attention(q, k, v)"),
    Mutant("q and k exchanged", "step", "cached_attention(q, k, v, cache, layer)", "cached_attention(k, q, v, cache, layer)"),
    Mutant("only the last position's logits", "step", "return logits", "return logits[:, -1:]"),
    Mutant("the length of the prompt before", "generate", "    cache.reset()\n", ""),
    Mutant("the whole text again, behind itself", "generate", "step(forward, new, cache)", "step(forward, tokens, cache)"),
    Mutant("the prompt's last token read twice", "generate", "    for _ in range(count):", "    step(forward, prompt[:, :-1], cache)\n    for _ in range(count):"),
    Mutant("the prompt read token by token", "generate", "    for _ in range(count):", "    for t in range(prompt.shape[1] - 1):\n        step(forward, prompt[:, t : t + 1], cache)\n    new = prompt[:, -1:]\n    for _ in range(count):"),
    Mutant("only the prompt's last token read", "generate", "tokens = new = prompt", "tokens, new = prompt, prompt[:, -1:]"),
    Mutant("the last token read for nothing", "generate", "    return tokens", "    step(forward, new, cache)\n    return tokens"),
    Mutant("reset for each token", "generate", "        logits = step", "        cache.reset()\n        logits = step"),
    Mutant("the logits of the first position", "generate", "logits[:, -1]", "logits[:, 0]"),
    Mutant("the prompt missing in the result", "generate", "return tokens", "return tokens[:, prompt.shape[1] :]"),
    Mutant("values forgotten", "cache_bytes", "2 * layers", "layers"),
    Mutant("the batch forgotten", "cache_bytes", " * batch", ""),
    Mutant("always four bytes", "cache_bytes", " * number_bytes", " * 4"),
    Mutant("attention blamed", "gap", 'gap = "b"', 'gap = "a"'),
]  # fmt: skip
