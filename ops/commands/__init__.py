"""The commands of `taco`, one file per group. They are imported for `taco --help` too, so what is slow is imported when a command runs."""
