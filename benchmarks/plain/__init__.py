"""The same updates as elegan's, written plainly: float32, contiguous tensors, the default Adam, nothing reused or spared.

What `throughput.py` compares with. Nothing in here imports elegan.
"""
