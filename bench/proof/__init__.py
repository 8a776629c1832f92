"""What proofs cost: verifying a center's month from the signed bytes, closing a nation's month, drafts, paper."""
