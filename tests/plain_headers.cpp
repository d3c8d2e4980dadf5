// Owns the precompiled header that every test without tensors reuses.
