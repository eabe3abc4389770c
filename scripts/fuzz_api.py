"""How schemathesis sends what is no JSON."""

import gzip

import schemathesis


@schemathesis.serializer("application/gzip")
def archive(ctx, value):
    """Whatever was made up, in the form of an archive."""
    return gzip.compress(value if isinstance(value, bytes) else str(value).encode())
