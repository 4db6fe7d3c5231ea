"""`headgate epp` and `headgate bbr`: the picker, and routing by the body, for a proxy that is somebody else's."""
