"""Configs of public language models, so that they can be built and counted without a download.

Sources: the `config.json` files of the published repositories (huggyllama/llama-7b and -13b, meta-llama/Llama-2-7b-hf
and Meta-Llama-3-8B, lmsys/vicuna-7b-v1.3 and -13b-v1.3, mistralai/Mistral-7B-v0.1, google/gemma-2b and -7b,
HuggingFaceTB/SmolLM2-135M). Only what differs from transformers' defaults for the `model_type` is written down.
"""

from typing import Any

_LLAMA_7B = {"model_type": "llama", "rms_norm_eps": 1e-6}
_LLAMA_13B = _LLAMA_7B | {
    "hidden_size": 5120,
    "intermediate_size": 13824,
    "num_hidden_layers": 40,
    "num_attention_heads": 40,
    "num_key_value_heads": 40,
}
_GEMMA_2B = {
    "model_type": "gemma",
    "hidden_size": 2048,
    "intermediate_size": 16384,
    "num_hidden_layers": 18,
    "num_attention_heads": 8,
    "num_key_value_heads": 1,
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "tie_word_embeddings": True,
}

LANGUAGE_ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama_7b": _LLAMA_7B,
    "llama_13b": _LLAMA_13B,
    "vicuna_7b": _LLAMA_7B,
    "vicuna_13b": _LLAMA_13B,
    "llama2_7b": _LLAMA_7B | {"rms_norm_eps": 1e-5, "max_position_embeddings": 4096},
    "llama3_8b": {
        "model_type": "llama",
        "vocab_size": 128256,
        "intermediate_size": 14336,
        "num_key_value_heads": 8,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 8192,
        "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
        "bos_token_id": 128000,
        "eos_token_id": 128001,
    },
    "mistral_7b": {
        "model_type": "mistral",
        "num_key_value_heads": 8,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 32768,
        "sliding_window": 4096,
        "tie_word_embeddings": False,
    },
    "gemma_2b": _GEMMA_2B,
    "gemma_7b": _GEMMA_2B
    | {
        "hidden_size": 3072,
        "intermediate_size": 24576,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
    },
    "smollm2_135m": {
        "model_type": "llama",
        "vocab_size": 49152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 8192,
        "rope_parameters": {"rope_type": "default", "rope_theta": 100000.0},
        "tie_word_embeddings": True,
        "pad_token_id": 2,
    },
}
