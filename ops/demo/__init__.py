"""The page at `/demo` of the API, under `taco up` only: one phone, one form, and what became of each message."""
