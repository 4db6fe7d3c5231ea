"""Everything at once against a real gateway: what is asked, what goes wrong meanwhile, and the account of each request."""
