"""SCNet: the sparse compression network, plain and with masks."""
