"""HTTP/1.1 on h11 and trio, both roles. Knows nothing of models, dialects or stages."""
