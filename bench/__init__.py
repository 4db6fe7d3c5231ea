"""What a request costs: Headgate beside its peers, on one machine, in one run (`make bench`, docs/performance.md)."""
