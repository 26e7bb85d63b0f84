"""The policy: numpy in, numpy out; jit, history, chunks and the control loop live here."""
