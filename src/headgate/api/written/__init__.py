"""The shapes in which each kind is written, and how they become the types that leave this package.

A shape is a Struct of the fields beside apiVersion, kind and metadata. Its `read` takes (Meta, shape, tree).
"""
