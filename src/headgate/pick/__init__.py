"""Which endpoint serves it?  `choose`: Ask, endpoints and loads, Profile, dice → Decision."""
