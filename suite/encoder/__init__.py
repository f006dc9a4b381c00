"""The shared text encoder: one transformer body, pooled to a unit vector, with heads on top. Plain Python, no Django.

`model.Encoder` is the real one and the only thing that imports torch; `fake.FakeEncoder` has the same interface for
tests. `heads` fits and calibrates heads, `checkpoint` is the folder that holds all of it under one fingerprint.
"""
