"""Python values to bytes and back: values, a call's arguments, errors, and definitions' code.

Pure functions over bytes; nothing here knows a socket or a file. `values` pickles, `arguments` lays out a call,
`errors` carries exceptions, `inspection` finds what cannot be pickled.
"""
