"""Use cases that KBase's old job services need and EE2's API does not have."""
