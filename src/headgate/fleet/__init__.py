"""What do the model servers report?  `read`: metrics text → Load."""
