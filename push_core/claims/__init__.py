"""Two-phase claims: whoever is about to call a vendor says so first."""
