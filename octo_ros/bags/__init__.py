"""Recordings: read them, replay them through the policy, keep what came out."""
