"""Calls between programs: node (Deliver, Kick, Poke) and receipts."""
