"""The byte-range stores: local files, HTTP and object stores behind one protocol, on one event loop."""
