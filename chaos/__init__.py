"""Everything at once against a real gateway: what is asked, what goes wrong, and the account of each request."""
