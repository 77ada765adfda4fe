"""Who may come in, from where, how often and how much: what protects a gateway and everybody on it from anyone of them."""
