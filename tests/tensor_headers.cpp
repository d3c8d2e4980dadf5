// Owns the precompiled header that every tensor test reuses.
